//! The body of an answer, with the zeros that another appliance left out.

use bytes::Bytes;
use reqwest::Response;

use super::address::Address;
use super::client::broken;
use super::error::FetchError;
use crate::holes::{Frames, HOLES};

/// A body that is being read.
pub(super) struct Incoming {
    response: Response,
    /// Its frames, when it has some.
    frames: Option<Frames>,
}

impl Incoming {
    /// That of `response`, which has frames if they were asked for and it says so.
    pub(super) fn new(response: Response, asked: bool) -> Self {
        let framed = asked && response.headers().get(HOLES).is_some_and(|value| value == "1");
        Self { response, frames: framed.then(Frames::default) }
    }

    /// The next bytes; none at the end.
    pub(super) async fn chunk(&mut self, url: &Address) -> Result<Option<Bytes>, FetchError> {
        loop {
            if let Some(some) = self.frames.as_mut().and_then(Frames::take) {
                return Ok(Some(some));
            }
            let chunk = self.response.chunk().await.map_err(|error| broken(url, error))?;
            match (&mut self.frames, chunk) {
                (Some(frames), Some(chunk)) => frames.came(chunk),
                (Some(frames), None) if !frames.is_whole() => {
                    let what = "the other appliance left off in a frame".to_owned();
                    return Err(FetchError::Broken { what });
                }
                (_, chunk) => return Ok(chunk),
            }
        }
    }
}
