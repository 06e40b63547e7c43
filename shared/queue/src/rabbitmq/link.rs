//! One connection to the broker. Every question has a time limit, and one that is not answered in
//! time ends the connection, so that whoever keeps it makes another.

use std::io::{Error, ErrorKind};
use std::net::{Shutdown, TcpStream as StdTcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::TokioRuntime;
use futures::StreamExt as _;
use lapin::options::QueueDeleteOptions;
use lapin::tcp::{AsyncTcpStream, TLSConfig};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};
use slipway_domain::job::Queue;
use tokio::sync::{Mutex as AsyncMutex, Notify, watch};
use tokio::time::timeout;

use super::address::Address;
use super::{House, topology};

/// To reach the broker's machine, and to agree on encryption.
const DIAL: Duration = Duration::from_secs(5);
/// To be let in, dialling included.
const GREETING: Duration = Duration::from_secs(8);
/// For any other answer of the broker.
pub(super) const ANSWER: Duration = Duration::from_secs(5);
/// To delete a queue that does not answer: the broker asks it, too, and waits for a while.
const DELETE: Duration = Duration::from_secs(20);
/// To say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);
/// The broker's own word about the end of a connection does not always reach the listener of
/// events; a look at the state does.
const LOOK: Duration = Duration::from_millis(500);

/// Ends the connection under lapin, whose thread would else wait for a broker that does not answer
/// for as long as the kernel believes in the connection.
#[derive(Clone, Default)]
struct Cut(Arc<Mutex<CutState>>);

#[derive(Default)]
enum CutState {
    #[default]
    Waiting,
    Armed(StdTcpStream),
    Done,
}

impl Cut {
    /// Learns the connection; ends it at once if it comes too late.
    fn arm(&self, socket: StdTcpStream) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, CutState::Done) {
            let _ = socket.shutdown(Shutdown::Both);
        } else {
            *state = CutState::Armed(socket);
        }
    }

    fn now(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let CutState::Armed(socket) = std::mem::replace(&mut *state, CutState::Done) {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.now();
    }
}

/// A connection that is given up is cut.
struct CutOnDrop(Cut);

/// Why a part of the transport had to stop.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(super) struct Lost(pub(super) String);

impl From<lapin::Error> for Lost {
    fn from(error: lapin::Error) -> Self {
        Self(error.to_string())
    }
}

/// Whether the broker said that a queue or an exchange is not there.
pub(super) fn not_found(error: &lapin::Error) -> bool {
    const NOT_FOUND: u16 = 404;
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(said) if said.get_id() == NOT_FOUND)
}

/// Whether a question to the broker was not answered in time.
pub(super) fn timed_out(error: &lapin::Error) -> bool {
    matches!(error.kind(), lapin::ErrorKind::IOError(said) if said.kind() == ErrorKind::TimedOut)
}

/// A connection.
pub(super) struct Link {
    connection: Connection,
    cut: CutOnDrop,
    suspect: Notify,
    declared: AsyncMutex<bool>,
}

impl Link {
    /// Connects and is let in, or says why not, without the password.
    pub(super) async fn open(address: &Address, role: &str) -> Result<Self, Lost> {
        let cut = CutOnDrop(Cut::default());
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("{} {role}", address.connection_name).into());
        let (at, arm) = (address.clone(), cut.0.clone());
        // lapin sometimes waits for an answer although its thread could not dial, so that is heard
        // from the thread itself.
        let (undialled, mut failed) = watch::channel(None);
        let dial = async move |_uri: AMQPUri, runtime: TokioRuntime| {
            let dialled = timeout(DIAL, async {
                let mut failure = None;
                // Every address of the name, because a broker may listen on one of them only.
                for place in tokio::net::lookup_host((at.host(), at.port())).await? {
                    match AsyncTcpStream::connect(&runtime, place).await {
                        Ok(stream) => {
                            if let AsyncTcpStream::Plain(plain) = &stream {
                                arm.arm(plain.get_ref().as_fd().try_clone_to_owned()?.into());
                            }
                            return if at.tls() {
                                stream.into_tls(at.host(), TLSConfig::default()).await
                            } else {
                                Ok(stream)
                            };
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                Err(failure.unwrap_or_else(|| Error::other("the name has no address")))
            });
            let dialled = dialled.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
            dialled.map_err(|error| {
                undialled.send_replace(Some(error.to_string()));
                lapin::Error::from(error)
            })
        };
        let runtime = lapin::runtime::default_runtime()?;
        let greeted = Connection::connector(address.uri(), runtime, dial, properties);
        let failed = async {
            let why = failed.wait_for(Option::is_some).await.map(|why| why.clone());
            match why.ok().flatten() {
                Some(why) => why,
                // It was dialled, and the thread has let go of what tells otherwise.
                None => std::future::pending().await,
            }
        };
        let connection = tokio::select! {
            greeted = timeout(GREETING, greeted) => match greeted {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return Err(Lost(format!("{address} cannot be used: {error}"))),
                Err(_) => {
                    return Err(Lost(format!("{address} accepts connections but does not answer")));
                }
            },
            why = failed => return Err(Lost(format!("{address} cannot be reached: {why}"))),
        };
        let (suspect, declared) = (Notify::new(), AsyncMutex::new(false));
        Ok(Self { connection, cut, suspect, declared })
    }

    /// Whether the connection is believed to be up.
    pub(super) fn alive(&self) -> bool {
        self.connection.status().connected()
    }

    /// Returns when the connection is lost, with the reason as far as it is known.
    pub(super) async fn lost(&self) -> Lost {
        let events = self.connection.events_listener();
        tokio::pin!(events);
        let mut why = None;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(lapin::Event::Error(error)) => why = Some(Lost::from(error)),
                    Some(_) => {}
                    None => return why.unwrap_or_else(|| Lost("the connection ended".into())),
                },
                () = self.suspect.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            if !self.alive() {
                return why.unwrap_or_else(|| Lost("the broker closed the connection".into()));
            }
        }
    }

    /// Something failed that may have been the connection's fault: whoever keeps it looks now.
    pub(super) fn suspect(&self) {
        self.suspect.notify_one();
    }

    /// `part` had to stop while it used this connection. Notes it, unless the connection itself is
    /// lost: whoever keeps that says so.
    pub(super) fn failed(&self, part: &str, lost: &Lost, house: &House) {
        self.suspect();
        if self.alive() {
            house.ward.ill(part, lost.to_string());
        } else {
            house.ward.waits(part);
        }
    }

    /// Waits for an answer of the broker. None in time ends the connection.
    pub(super) async fn answer<T>(
        &self,
        what: &str,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> lapin::Result<T> {
        self.answer_within(ANSWER, what, answer).await
    }

    async fn answer_within<T>(
        &self,
        limit: Duration,
        what: &str,
        answer: impl Future<Output = lapin::Result<T>>,
    ) -> lapin::Result<T> {
        let Ok(answered) = timeout(limit, answer).await else {
            tracing::warn!(what, "the broker does not answer; connecting anew");
            self.cut();
            return Err(Error::from(ErrorKind::TimedOut).into());
        };
        answered.inspect_err(|_| self.suspect())
    }

    /// A fresh channel.
    pub(super) async fn channel(&self) -> lapin::Result<Channel> {
        self.answer("open a channel", self.connection.create_channel()).await
    }

    /// Declares all queues and exchanges, once a connection, or `again` because one is not there
    /// any more. What exists with other arguments is used as it is.
    pub(super) async fn declare(&self, house: &House, again: bool) -> lapin::Result<()> {
        let mut declared = self.declared.lock().await;
        if again || !*declared {
            *declared = false;
            // RabbitMQ gets into trouble over a queue that is used while another connection is
            // still making it.
            let _alone = house.declaring.lock().await;
            let conflicts = topology::declare(self, &house.topology).await?;
            topology::tell(&conflicts, &house.ward);
            *declared = true;
        }
        Ok(())
    }

    /// Deletes the doorbells of a queue that does not answer, with the queue.
    pub(super) async fn delete(&self, house: &House, queue: Queue) -> lapin::Result<()> {
        let name = house.topology.bells(queue);
        tracing::warn!(%queue, name = name.as_str(), "the queue does not answer although its broker \
            does; it is deleted and made anew, and its doorbells ring again");
        let _alone = house.declaring.lock().await;
        let channel = self.channel().await?;
        let deleted = channel.queue_delete(name, QueueDeleteOptions::default());
        self.answer_within(DELETE, "delete a queue", deleted).await?;
        self.close_channel(&channel).await;
        Ok(())
    }

    /// Asks the broker for something, and says what is wrong if it does not do it.
    pub(super) async fn probe(&self) -> Result<(), Lost> {
        if self.connection.status().blocked() {
            return Err(Lost("the broker takes no messages: it is short of memory or disk".into()));
        }
        let channel = self.channel().await?;
        self.close_channel(&channel).await;
        Ok(())
    }

    /// Closes a channel; what was delivered on it and not answered goes back to its queue.
    pub(super) async fn close_channel(&self, channel: &Channel) {
        // It may be closed already, by the broker.
        let _ = self.answer("close a channel", channel.close(200, "OK".into())).await;
    }

    /// Ends the connection without a word.
    pub(super) fn cut(&self) {
        self.cut.0.now();
        self.suspect();
    }

    /// Says goodbye and ends the connection.
    pub(super) async fn close(&self) {
        let _ = timeout(GOODBYE, self.connection.close(200, "OK".into())).await;
        self.cut();
    }
}
