//! Sessions of older clients that can ask their person. The id of a session is sealed and holds
//! what the client said in `initialize`, so a process that does not know the session makes it
//! again from its id, and whose it is: to everybody else there is no such session. What is kept in memory are streams that are open, and it ends with them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use rmcp::model::{ClientJsonRpcMessage, InitializeRequestParams, ServerJsonRpcMessage};
use rmcp::transport::WorkerTransport;
use rmcp::transport::streamable_http_server::SessionId;
use rmcp::transport::streamable_http_server::session::local::{
    LocalSessionManager, LocalSessionManagerError, LocalSessionWorker, SessionError,
};
use rmcp::transport::streamable_http_server::session::{
    RestoreOutcome, ServerSseMessage, SessionManager, SessionState, SessionStore, SessionStoreError,
};
use serde_json::{Value, json};
use slipway_domain::access::Principal;
use slipway_domain::fault::Fault;

use super::answer::line;
use super::seal::Seal;

/// What a sealed id is for.
const PURPOSE: &str = "session";
/// Sessions at most in one process.
const MAX_SESSIONS: usize = 1000;
/// A session that is silent for so long is let go of. Longer than the longest wait.
const SILENCE: Duration = Duration::from_mins(15);

/// Account, and session or key.
type Owner = (String, Option<String>);
/// What an id holds.
type Opened = (Value, InitializeRequestParams, Owner);

fn owner(who: &Principal) -> Owner {
    (who.actor.id.clone(), who.token.clone())
}

/// The sessions of this process. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sessions {
    live: Arc<LocalSessionManager>,
    seal: Seal,
    /// What the client said whose session is being opened, and whose it is.
    opening: Option<Arc<(Value, Owner)>>,
}

impl Sessions {
    pub(super) fn new(seal: Seal) -> Self {
        let mut live = LocalSessionManager::default();
        live.session_config.keep_alive = Some(SILENCE);
        Self { live: Arc::new(live), seal, opening: None }
    }

    /// The same sessions, ready to open one for this client of this caller.
    pub(super) fn opening(&self, client: &InitializeRequestParams, who: &Principal) -> Self {
        // Only what is needed later: the id travels with every request.
        let kept = json!({
            "protocolVersion": client.protocol_version,
            "capabilities": {"elicitation": client.capabilities.elicitation},
            "clientInfo": {
                "name": line(&client.client_info.name, 60),
                "version": line(&client.client_info.version, 40),
            },
        });
        Self { opening: Some(Arc::new((kept, owner(who)))), ..self.clone() }
    }

    /// Whether a session is this caller's: of the same account, by the same session or key of it.
    pub(super) fn is_of(&self, id: &str, who: &Principal) -> bool {
        let opened: Option<Opened> = self.seal.open(PURPOSE, id);
        opened.is_some_and(|(_, _, of)| of == owner(who))
    }

    /// Whether there is no room for a session with this id, unless it is here already.
    pub(super) async fn is_full_for(&self, id: &str) -> bool {
        let live = self.live.sessions.read().await;
        live.len() >= MAX_SESSIONS && !live.contains_key(id)
    }

    fn new_id(&self) -> Result<SessionId, Fault> {
        let opening = self.opening.as_deref();
        let (client, of) = opening.ok_or_else(|| Fault::internal("a session of nobody"))?;
        let unique = self.seal.cx().mint.uuid();
        self.seal.seal(PURPOSE, &(unique, client, of)).map(Into::into)
    }
}

fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LocalSessionManagerError {
    SessionError::from(io::Error::other(why)).into()
}

impl SessionManager for Sessions {
    type Error = LocalSessionManagerError;
    type Transport = WorkerTransport<LocalSessionWorker>;

    async fn create_session(&self) -> Result<(SessionId, Self::Transport), Self::Error> {
        let id = self.new_id().map_err(failed)?;
        match self.live.restore_session(id.clone()).await? {
            RestoreOutcome::Restored(transport) => Ok((id, transport)),
            _ => Err(failed("a new session is there already")),
        }
    }

    async fn initialize_session(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<ServerJsonRpcMessage, Self::Error> {
        self.live.initialize_session(id, message).await
    }

    async fn has_session(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.live.has_session(id).await
    }

    async fn close_session(&self, id: &SessionId) -> Result<(), Self::Error> {
        self.live.close_session(id).await
    }

    async fn create_stream(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.live.create_stream(id, message).await
    }

    async fn accept_message(
        &self,
        id: &SessionId,
        message: ClientJsonRpcMessage,
    ) -> Result<(), Self::Error> {
        self.live.accept_message(id, message).await
    }

    async fn create_standalone_stream(
        &self,
        id: &SessionId,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.live.create_standalone_stream(id).await
    }

    async fn resume(
        &self,
        id: &SessionId,
        last_event_id: String,
    ) -> Result<impl Stream<Item = ServerSseMessage> + Send + Sync + 'static, Self::Error> {
        self.live.resume(id, last_event_id).await
    }

    async fn restore_session(
        &self,
        id: SessionId,
    ) -> Result<RestoreOutcome<Self::Transport>, Self::Error> {
        self.live.restore_session(id).await
    }
}

/// The "store" of sessions is the id itself: nothing is kept.
#[async_trait::async_trait]
impl SessionStore for Sessions {
    async fn load(&self, id: &str) -> Result<Option<SessionState>, SessionStoreError> {
        let opened: Option<Opened> = self.seal.open(PURPOSE, id);
        Ok(opened.map(|(_, client, _)| SessionState::new(client)))
    }

    async fn store(&self, _: &str, _: &SessionState) -> Result<(), SessionStoreError> {
        Ok(())
    }

    async fn delete(&self, _: &str) -> Result<(), SessionStoreError> {
        Ok(())
    }
}
