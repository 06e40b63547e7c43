//! Following a stream of numbered things to its end, over as many connections as it takes.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use futures::Stream;
use reqwest::{Response, StatusCode, Url};
use serde::de::DeserializeOwned;
use slipway_domain::event::Event;
use slipway_domain::log::LogLine;
use tokio::time::Instant;

use super::transport::{Client, chain};
use crate::client::error::ClientError;
use crate::client::sse::{Frame, Parser};

/// Servers send a keep-alive every 15 s; a connection that is silent for longer than this is dead.
const SILENCE: Duration = Duration::from_secs(50);
/// Failures in a row at most, before the first connection and after it.
const FIRST_TRIES: u32 = 3;
const TRIES: u32 = 10;
/// Pause after the first failure, unless the server says another; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A connection that lived so long was a good one, even if there was no news.
const LONG_LIVED: Duration = Duration::from_secs(20);

/// Things that a stream numbers.
pub trait Numbered: DeserializeOwned {
    /// The number, which grows.
    fn number(&self) -> i64;
}

impl Numbered for Event {
    fn number(&self) -> i64 {
        self.seq
    }
}

impl Numbered for LogLine {
    fn number(&self) -> i64 {
        self.seq
    }
}

/// A stream that is being followed. See [`Client::events`] and [`Client::log_lines`].
pub struct Follow<T> {
    client: Client,
    url: Url,
    /// The number of the last thing that was given or skipped.
    after: i64,
    ready: VecDeque<T>,
    live: Option<Live>,
    ended: bool,
    connected_once: bool,
    failures: u32,
    pause: Duration,
    of: PhantomData<T>,
}

struct Live {
    response: Response,
    parser: Parser,
    since: Instant,
}

impl<T: Numbered> Follow<T> {
    pub(super) fn new(client: Client, url: Url, after: i64) -> Self {
        Self {
            client,
            url,
            after,
            ready: VecDeque::new(),
            live: None,
            ended: false,
            connected_once: false,
            failures: 0,
            pause: PAUSE,
            of: PhantomData,
        }
    }

    /// The number of the last thing that was given.
    pub fn after(&self) -> i64 {
        self.after
    }

    /// The next thing; `None` when the deployment has ended and everything was given. May be
    /// dropped while it waits and called again without losing anything.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                self.after = self.after.max(item.number());
                return Ok(Some(item));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(live) = &mut self.live else {
                self.connect().await?;
                continue;
            };
            match tokio::time::timeout(SILENCE, live.response.chunk()).await {
                Ok(Ok(Some(piece))) => match live.parser.push(&piece) {
                    Ok(frames) => frames.into_iter().for_each(|frame| self.take(&frame)),
                    Err(too_long) => {
                        let url = self.url.to_string();
                        return Err(ClientError::Garbled { url, why: too_long.to_string() });
                    }
                },
                Ok(Ok(None)) => self.lost("the stream broke off")?,
                Ok(Err(why)) => self.lost(&chain(&why))?,
                Err(_) => self.lost("the stream is silent")?,
            }
        }
    }

    /// The same as a [`Stream`], which ends after the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<T, ClientError>> {
        futures::stream::try_unfold(self, |mut follow| async move {
            Ok(follow.next().await?.map(|item| (item, follow)))
        })
    }

    fn take(&mut self, frame: &Frame) {
        if frame.event == "end" {
            self.ended = true;
            return;
        }
        let last = self.ready.back().map_or(self.after, Numbered::number);
        match serde_json::from_str::<T>(&frame.data) {
            // A server that begins again too early must not make us tell things twice.
            Ok(item) if item.number() > last => {
                self.failures = 0;
                self.ready.push_back(item);
            }
            Ok(_) => {}
            // A newer server may know more kinds of things than we do: go on after it.
            Err(_) => {
                let number = frame.id.as_deref().and_then(|id| id.parse().ok());
                if self.ready.is_empty() {
                    self.after = self.after.max(number.unwrap_or(0));
                }
            }
        }
    }

    async fn connect(&mut self) -> Result<(), ClientError> {
        if self.failures > 0 {
            let factor = 1 << (self.failures - 1).min(8);
            tokio::time::sleep((self.pause * factor).min(LONGEST_PAUSE)).await;
        }
        match self.client.open(&self.url, self.after).await {
            Ok(answer) => {
                self.connected_once = true;
                // The answer of the standard to "come no more".
                self.ended = answer.response.status() == StatusCode::NO_CONTENT;
                let response = answer.response;
                self.live = Some(Live { response, parser: Parser::new(), since: Instant::now() });
                Ok(())
            }
            Err(failed) if failed.again.is_some() => self.failed(failed.error),
            Err(failed) => Err(failed.error),
        }
    }

    fn lost(&mut self, why: &str) -> Result<(), ClientError> {
        if let Some(live) = self.live.take() {
            if let Some(pause) = live.parser.retry() {
                self.pause = pause.clamp(PAUSE, LONGEST_PAUSE);
            }
            if live.since.elapsed() >= LONG_LIVED {
                self.failures = 0;
            }
        }
        self.failed(self.client.silent(why))
    }

    fn failed(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.failures += 1;
        let tries = if self.connected_once { TRIES } else { FIRST_TRIES };
        if self.failures >= tries { Err(error) } else { Ok(()) }
    }
}
