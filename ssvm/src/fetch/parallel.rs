//! Ranges of one source fetched side by side, given in order.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::address::Address;
use super::client::{Ask, Fetcher};
use super::error::FetchError;
use super::validator::Validator;

/// The ranges of a source from some offset to its end; memory is that of the ranges under way.
pub(super) struct Pieces(Pin<Box<dyn Stream<Item = Result<Bytes, FetchError>> + Send>>);

impl Pieces {
    /// The next range; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        self.0.next().await.transpose()
    }
}

/// The ranges from `offset` on of the source at `url` in the state `marks`, whose length is known.
pub(super) fn pieces(fetcher: Fetcher, url: Address, offset: u64, marks: Validator) -> Pieces {
    let total = marks.total.unwrap_or(offset);
    let length = fetcher.policy().range_bytes.max(1);
    let streams = usize::from(fetcher.policy().streams.max(1));
    let starts = std::iter::successors(Some(offset), move |at| at.checked_add(length));
    let ranges = starts
        .take_while(move |at| *at < total)
        .map(move |at| (at, at.saturating_add(length).min(total) - 1));
    let fetch = move |(first, last)| {
        let (fetcher, url, marks) = (fetcher.clone(), url.clone(), marks.clone());
        async move { piece(&fetcher, &url, &marks, first, last).await }
    };
    Pieces(Box::pin(futures_util::stream::iter(ranges).map(fetch).buffered(streams)))
}

async fn piece(
    fetcher: &Fetcher,
    url: &Address,
    marks: &Validator,
    first: u64,
    last: u64,
) -> Result<Bytes, FetchError> {
    let ask = Ask { first, last: Some(last), marks: Some(marks) };
    let answer = match fetcher.ask(url, ask).await {
        // a signed link may have ended; the first address gives another one, or says what is wrong
        Err(FetchError::Status { status: 401..=410, .. }) => {
            let what = "a range is refused after others were given".to_owned();
            return Err(FetchError::Broken { what });
        }
        other => other?,
    };
    if !marks.agrees(&answer.marks) {
        return Err(FetchError::Changed);
    }
    match answer.range {
        Some(range) if range.first == first && range.last == last => {}
        Some(_) => {
            return Err(FetchError::Protocol { what: "another range than the one asked for" });
        }
        // If-Range: the whole source is sent when it is no longer the same
        None => return Err(FetchError::Changed),
    }
    let wanted = usize::try_from(last - first + 1).unwrap_or(0);
    let mut bytes = BytesMut::with_capacity(wanted);
    let mut body = answer.body;
    while let Some(chunk) = body.chunk(url).await? {
        if bytes.len() + chunk.len() > wanted {
            return Err(FetchError::Protocol { what: "more bytes than the range has" });
        }
        bytes.extend_from_slice(&chunk);
    }
    if bytes.len() < wanted {
        let got = first + u64::try_from(bytes.len()).unwrap_or(0);
        return Err(FetchError::CutOff { got, announced: last + 1 });
    }
    Ok(bytes.freeze())
}
