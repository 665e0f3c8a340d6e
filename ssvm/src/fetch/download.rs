//! One source, fetched in order, opened anew where it broke.

use bytes::Bytes;

use super::address::Address;
use super::client::{Answer, Ask, Fetcher};
use super::error::FetchError;
use super::incoming::Incoming;
use super::parallel::{Pieces, pieces};
use super::validator::Validator;

/// A source being fetched. After an error, [`Download::next`] may be called again: it goes on at the same byte.
pub struct Download {
    fetcher: Fetcher,
    url: Address,
    /// Next byte to give.
    offset: u64,
    /// Marks of the state that the bytes so far are of.
    marks: Option<Validator>,
    /// Most bytes that the source may have.
    most: u64,
    /// Whether bytes may be joined although nothing tells the source's states apart, since a checksum tests the whole.
    trusting: bool,
    /// Whether the server was found to know no length, without which there is no last range.
    single: bool,
    body: Body,
}

enum Body {
    Closed,
    /// One answer; `skip` bytes of it are known already; `end` is the source's end as far as it is known.
    Stream {
        body: Incoming,
        skip: u64,
        until: Option<u64>,
        then: Option<Address>,
    },
    /// Ranges in parallel, to the end of the source.
    Pieces(Pieces),
    Ended,
}

impl Download {
    /// Will fetch `url` from byte `offset` on, where earlier bytes are of the state `marks`, and at most `most` bytes.
    pub fn new(
        fetcher: Fetcher,
        url: Address,
        offset: u64,
        marks: Option<Validator>,
        most: u64,
        trusting: bool,
    ) -> Self {
        Self { fetcher, url, offset, marks, most, trusting, single: false, body: Body::Closed }
    }

    /// Marks of the state that is being fetched, once the server has answered.
    pub const fn marks(&self) -> Option<&Validator> {
        self.marks.as_ref()
    }

    /// The length of the source, if the server said.
    pub fn total(&self) -> Option<u64> {
        self.marks.as_ref().and_then(|marks| marks.total)
    }

    /// Whether fetching could go on at a later byte, after a restart as well.
    pub fn resumable(&self) -> bool {
        self.trusting || self.marks.as_ref().is_some_and(Validator::tells)
    }

    /// The next bytes; none at the end.
    ///
    /// Errors: see [`FetchError`]; afterwards the connection is closed.
    pub async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        let next = self.step().await;
        match &next {
            Ok(Some(bytes)) => {
                self.offset += u64::try_from(bytes.len()).unwrap_or(0);
                if self.offset > self.most {
                    return Err(FetchError::TooLarge { size: self.offset, limit: self.most });
                }
            }
            Ok(None) => self.body = Body::Ended,
            Err(_) => self.body = Body::Closed,
        }
        next
    }

    async fn step(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match &mut self.body {
                Body::Ended => return Ok(None),
                Body::Closed => self.open().await?,
                Body::Pieces(pieces) => return pieces.next().await,
                Body::Stream { body, skip, until, then } => {
                    let chunk = body.chunk(&self.url).await?;
                    if let Some(chunk) = chunk {
                        let chunk = past(chunk, skip);
                        if chunk.is_empty() {
                            continue;
                        }
                        let reached = self.offset + u64::try_from(chunk.len()).unwrap_or(0);
                        if until.is_some_and(|until| reached > until) {
                            let what = "more bytes than the range has";
                            return Err(FetchError::Protocol { what });
                        }
                        return Ok(Some(chunk));
                    }
                    match (*until, then.take()) {
                        (Some(until), _) if self.offset < until => {
                            return Err(FetchError::CutOff { got: self.offset, announced: until });
                        }
                        (Some(_), Some(url)) => self.body = self.pieces(url),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    /// Asks for what follows the offset: for its first range if several may be fetched at once, else for all.
    async fn open(&mut self) -> Result<(), FetchError> {
        let policy = self.fetcher.policy();
        let several = policy.streams > 1 && !self.single;
        let last = several.then(|| self.offset.saturating_add(policy.range_bytes.max(1)) - 1);
        let ask = Ask { first: self.offset, last, marks: self.marks.as_ref() };
        let answer = match self.fetcher.ask(&self.url, ask).await {
            // nothing there: an empty source, or one fetched to its end before
            Err(FetchError::Status { status: 416, .. }) => return self.at_the_end(),
            other => other?,
        };
        self.same_state(&answer)?;
        if let Some(size) = answer.marks.total.filter(|total| *total > self.most) {
            return Err(FetchError::TooLarge { size, limit: self.most });
        }
        if several && answer.range.is_some_and(|range| range.total.is_none()) {
            self.single = true;
            return Ok(());
        }
        self.body = self.take(answer)?;
        Ok(())
    }

    fn at_the_end(&mut self) -> Result<(), FetchError> {
        match self.total() {
            Some(total) if total != self.offset => {
                Err(FetchError::Protocol { what: "no bytes where the source should have some" })
            }
            _ => {
                self.body = Body::Ended;
                Ok(())
            }
        }
    }

    /// The bytes so far and those to come must be of one state of the source.
    fn same_state(&mut self, answer: &Answer) -> Result<(), FetchError> {
        let known = self.marks.get_or_insert_with(|| answer.marks.clone());
        if !known.agrees(&answer.marks) {
            return Err(FetchError::Changed);
        }
        if known.total.is_none() {
            known.total = answer.marks.total;
        }
        let joined = self.offset > 0;
        if joined && !self.trusting && !(known.tells() && answer.marks.tells()) {
            return Err(FetchError::Changed);
        }
        Ok(())
    }

    fn take(&self, answer: Answer) -> Result<Body, FetchError> {
        let Some(range) = answer.range else {
            // the server has no ranges: what is known already comes again
            let until = answer.marks.total;
            let (body, skip) = (answer.body, self.offset);
            return Ok(Body::Stream { body, skip, until, then: None });
        };
        if range.first != self.offset {
            return Err(FetchError::Protocol { what: "another range than the one asked for" });
        }
        let until = range.last + 1;
        let more = range.total.is_some_and(|total| until < total);
        let then = more.then(|| answer.url.clone());
        Ok(Body::Stream { body: answer.body, skip: 0, until: Some(until), then })
    }

    fn pieces(&self, url: Address) -> Body {
        let marks = self.marks.clone().unwrap_or_default();
        Body::Pieces(pieces(self.fetcher.clone(), url, self.offset, marks))
    }
}

/// What of `chunk` lies behind the first `skip` bytes.
fn past(mut chunk: Bytes, skip: &mut u64) -> Bytes {
    let known = usize::try_from(*skip).unwrap_or(usize::MAX).min(chunk.len());
    *skip -= u64::try_from(known).unwrap_or(0);
    chunk.split_off(known)
}
