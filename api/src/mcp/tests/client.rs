//! A client of bytes: it speaks both protocol worlds and shows what came over the wire.

use futures::future::BoxFuture;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

/// Which world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    /// A revision with `initialize`.
    Older(&'static str),
    /// 2026-07-28.
    Stateless,
}

/// Every world that is served.
pub(super) const WORLDS: [World; 3] =
    [World::Older("2025-06-18"), World::Older("2025-11-25"), World::Stateless];

/// Answers a question that the server asks while a call is open.
pub(super) type Reply = Box<dyn Fn(&Value) -> Value + Send + Sync>;

/// A client.
pub(super) struct Client {
    http: reqwest::Client,
    pub(super) url: String,
    pub(super) world: World,
    pub(super) capabilities: Value,
    pub(super) session: Option<String>,
    pub(super) reply: Option<Reply>,
}

/// What came back for a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Notifications before the answer.
    pub(super) notifications: Vec<Value>,
    /// The JSON-RPC answer; `null` when the body was none.
    pub(super) body: Value,
}

impl Answer {
    pub(super) fn result(&self) -> &Value {
        assert!(self.body.get("result").is_some(), "no result: {self:?}");
        &self.body["result"]
    }

    /// The structured content of a tool's answer that is no error.
    pub(super) fn ok(&self) -> &Value {
        let result = self.result();
        assert_ne!(result["isError"], json!(true), "{result:#}");
        &result["structuredContent"]
    }

    /// The structured content of a tool error.
    pub(super) fn refused(&self) -> &Value {
        let result = self.result();
        assert_eq!(result["isError"], json!(true), "{result:#}");
        &result["structuredContent"]
    }

    /// The text for models.
    pub(super) fn text(&self) -> &str {
        self.result()["content"][0]["text"].as_str().unwrap()
    }

    /// The code of a protocol error.
    pub(super) fn error(&self) -> i64 {
        self.body["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }
}

impl Client {
    /// Connects, with `initialize` where the revision has it.
    pub(super) async fn connect(url: &str, world: World) -> Self {
        Self::connect_with(url, world, json!({})).await
    }

    /// Connects with these client capabilities.
    pub(super) async fn connect_with(url: &str, world: World, capabilities: Value) -> Self {
        #[expect(clippy::disallowed_methods, reason = "a client for a test")]
        let http = reqwest::Client::new();
        let mut client =
            Self { http, url: url.to_owned(), world, capabilities, session: None, reply: None };
        if let World::Older(version) = world {
            let params = json!({
                "protocolVersion": version,
                "capabilities": client.capabilities,
                "clientInfo": {"name": "test", "version": "1"},
            });
            let answer = client.request("initialize", params).await;
            assert_eq!(answer.result()["protocolVersion"], version);
            let session = answer.headers.get("mcp-session-id");
            client.session = session.map(|id| id.to_str().unwrap().to_owned());
            let done = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
            let answer = client.post(&done, None).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::ACCEPTED);
        }
        client
    }

    fn post(&self, body: &Value, name: Option<&str>) -> reqwest::RequestBuilder {
        let mut post = self
            .http
            .post(&self.url)
            .header("Accept", "application/json, text/event-stream")
            .json(body);
        match self.world {
            World::Older(version) if body["method"] != "initialize" => {
                post = post.header("MCP-Protocol-Version", version);
            }
            World::Older(_) => {}
            World::Stateless => {
                post = post.header("MCP-Protocol-Version", "2026-07-28");
                if let Some(method) = body["method"].as_str() {
                    post = post.header("Mcp-Method", method);
                }
                if let Some(name) = name {
                    post = post.header("Mcp-Name", name);
                }
            }
        }
        if let Some(session) = &self.session {
            post = post.header("Mcp-Session-Id", session);
        }
        post
    }

    /// The message of a request, with the metadata that the revision wants.
    pub(super) fn message(&self, method: &str, mut params: Value) -> Value {
        if self.world == World::Stateless {
            let meta = &mut params["_meta"];
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
        }
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn request(&self, method: &str, params: Value) -> Answer {
        let message = self.message(method, params);
        let name = message["params"]["name"].as_str().map(str::to_owned);
        let response = self.post(&message, name.as_deref()).send().await.unwrap();
        self.read(response).await
    }

    /// Sends a request with other headers as well.
    pub(super) async fn request_with(
        &self,
        method: &str,
        params: Value,
        headers: &[(&'static str, &str)],
    ) -> Answer {
        let message = self.message(method, params);
        let mut request = self.post(&message, message["params"]["name"].as_str());
        let mut replaced = HeaderMap::new();
        for (name, value) in headers {
            replaced.insert(*name, value.parse().unwrap());
        }
        request = request.headers(replaced);
        self.read(request.send().await.unwrap()).await
    }

    async fn read(&self, mut response: Response) -> Answer {
        let (status, headers) = (response.status(), response.headers().clone());
        let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
        let mut answer = Answer { status, headers, notifications: Vec::new(), body: Value::Null };
        if kind.as_deref() != Some("text/event-stream") {
            let body = response.bytes().await.unwrap();
            answer.body = serde_json::from_slice(&body)
                .unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
            return answer;
        }
        let mut text = String::new();
        while let Some(chunk) = response.chunk().await.unwrap() {
            text.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((event, rest)) = text.split_once("\n\n") {
                let data: String =
                    event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
                let rest = rest.to_owned();
                if let Ok(message) = serde_json::from_str::<Value>(data.trim()) {
                    self.take(message, &mut answer).await;
                }
                text = rest;
            }
        }
        answer
    }

    fn take<'a>(&'a self, message: Value, answer: &'a mut Answer) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            match (message.get("method").is_some(), message.get("id").cloned()) {
                (true, Some(id)) => {
                    let reply = self.reply.as_ref().expect("the server asks nothing")(&message);
                    let reply = json!({"jsonrpc": "2.0", "id": id, "result": reply});
                    let sent = self.post(&reply, None).send().await.unwrap();
                    assert_eq!(sent.status(), StatusCode::ACCEPTED);
                }
                (true, None) => answer.notifications.push(message),
                (false, _) => answer.body = message,
            }
        })
    }

    /// Ends the session.
    pub(super) async fn end_session(&self) -> StatusCode {
        let session = self.session.as_deref().unwrap();
        let request = self.http.delete(&self.url).header("Mcp-Session-Id", session);
        request.send().await.unwrap().status()
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// Submits the template and returns the deployment's id.
    pub(super) async fn submit(&self) -> String {
        let answer = self.call("submit_deployment", super::house::submission()).await;
        answer.ok()["deployment_id"].as_str().unwrap().to_owned()
    }
}
