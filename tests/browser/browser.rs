//! A browser as a person uses it: goes to pages, reads, clicks, types.
//!
//! It speaks WebDriver by itself: two dozen lines, where the crates for it bring a licence that ours do not allow, or turn
//! on features of `serde_json` for everything that is tested beside them.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use pgqueue_suite::wait_until;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::driver;

/// The name of an element's id in WebDriver.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Most browsers at once, whatever the number of test threads: each is some ten processes.
static TURNS: Semaphore = Semaphore::const_new(2);

const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",            // as root there is none
    "--remote-debugging-pipe", // ends with chromedriver
    "--disable-dev-shm-usage", // which is small in containers
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--lang=en",
];

/// Keys of WebDriver that are no characters.
pub(crate) mod key {
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const SPACE: &str = " ";
}

/// A window of a browser of its own, closed with this value.
pub(crate) struct Browser {
    client: reqwest::Client,
    session: String,
    site: SocketAddr,
    _turn: SemaphorePermit<'static>,
}

impl Browser {
    /// Opens a window of 1280 × 900 for the pages of a site.
    pub(crate) async fn open(site: SocketAddr) -> Self {
        Self::start(site, json!({})).await
    }

    /// Opens one whose JavaScript is switched off in its settings.
    pub(crate) async fn without_javascript(site: SocketAddr) -> Self {
        let blocked = json!({ "profile.managed_default_content_settings.javascript": 2 });
        Self::start(site, blocked).await
    }

    async fn start(site: SocketAddr, preferences: Value) -> Self {
        let turn = TURNS.acquire().await.unwrap();
        let client = reqwest::Client::new();
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": ARGUMENTS, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let url = format!("{}/session", driver::url());
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = send(client.post(url).json(&body)).await.unwrap();
        let id = answer["sessionId"].as_str().unwrap();
        let browser = Self {
            client,
            session: format!("{}/session/{id}", driver::url()),
            site,
            _turn: turn,
        };
        browser.watch_policy().await;
        browser.resize(1280, 900).await;
        browser
    }

    /// Sends a command, and gives its result, or what WebDriver says against it.
    async fn attempt(&self, command: &str, body: Value) -> Result<Value, String> {
        let url = format!("{}/{command}", self.session);
        send(self.client.post(url).json(&body)).await
    }

    async fn command(&self, command: &str, body: Value) -> Value {
        let done = self.attempt(command, body).await;
        done.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    async fn ask(&self, question: &str) -> Result<Value, String> {
        send(self.client.get(format!("{}/{question}", self.session))).await
    }

    /// Sends a command of Chrome's own protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.command("goog/cdp/execute", body).await
    }

    /// Goes to a page of the site, and returns when it is loaded.
    pub(crate) async fn go(&self, path: &str) {
        let url = format!("http://{}{path}", self.site);
        self.command("url", json!({ "url": url })).await;
    }

    /// Gives path and query of the page.
    pub(crate) async fn path(&self) -> String {
        let url = self.ask("url").await.unwrap();
        let url = url.as_str().unwrap();
        let below = url.strip_prefix(&format!("http://{}", self.site));
        below.unwrap_or(url).to_owned()
    }

    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    /// Has the system prefer `light` or `dark`.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
    }

    /// Gives the elements that a selector matches.
    pub(crate) async fn all(&self, css: &str) -> Vec<String> {
        let body = json!({ "using": "css selector", "value": css });
        let found = self.command("elements", body).await;
        let ids = found.as_array().unwrap().iter();
        ids.map(|id| id[ELEMENT].as_str().unwrap().to_owned())
            .collect()
    }

    async fn text_of(&self, element: &str) -> Result<String, String> {
        let text = self.ask(&format!("element/{element}/text")).await?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Gives the visible text of all elements that a selector matches, one a line.
    pub(crate) async fn text(&self, css: &str) -> String {
        let mut lines = Vec::new();
        for element in self.all(css).await {
            // It may have gone meanwhile.
            lines.extend(self.text_of(&element).await);
        }
        lines.join("\n")
    }

    /// Waits until an element shows a text.
    pub(crate) async fn wait_for(&self, css: &str, text: &str) {
        wait_until(&format!("{css} shows {text:?}"), async || {
            self.text(css).await.contains(text)
        })
        .await;
    }

    /// Clicks the first element of a selector with this text, once there is one that can be clicked.
    pub(crate) async fn click(&self, css: &str, text: &str) {
        wait_until(&format!("{css} {text:?} can be clicked"), async || {
            let Some(element) = self.with_text(css, text).await else {
                return false;
            };
            let click = format!("element/{element}/click");
            self.attempt(&click, json!({})).await.is_ok()
        })
        .await;
    }

    async fn with_text(&self, css: &str, text: &str) -> Option<String> {
        for element in self.all(css).await {
            if self.text_of(&element).await.ok()?.contains(text) {
                return Some(element);
            }
        }
        None
    }

    /// Types into the first element of a selector.
    pub(crate) async fn fill(&self, css: &str, text: &str) {
        let element = self.all(css).await.remove(0);
        self.command(&format!("element/{element}/clear"), json!({}))
            .await;
        self.command(&format!("element/{element}/value"), json!({ "text": text }))
            .await;
    }

    /// Presses keys one after the other, wherever the focus is.
    pub(crate) async fn press(&self, keys: &[&str]) {
        let strokes: Vec<_> = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|act| json!({ "type": act, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.command("actions", json!({ "actions": [keyboard] }))
            .await;
    }

    /// Runs the body of a function, and gives what it returns.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", json!({ "script": script, "args": [] }))
            .await
    }

    /// Runs the body of an async function, and gives what it returns.
    pub(crate) async fn run_async(&self, script: &str) -> Value {
        let script = format!(
            "const done = arguments[0]; (async () => {{ {script} }})().then(done, (error) => done(String(error)));"
        );
        self.command("execute/async", json!({ "script": script, "args": [] }))
            .await
    }

    /// Opens another tab in front of this one, and gives the name of the one that is hidden now.
    pub(crate) async fn cover(&self) -> String {
        let hidden = self.ask("window").await.unwrap();
        let tab = self.command("window/new", json!({ "type": "tab" })).await;
        self.command("window", json!({ "handle": tab["handle"] }))
            .await;
        hidden.as_str().unwrap().to_owned()
    }

    /// Goes to a tab.
    pub(crate) async fn show(&self, tab: &str) {
        self.command("window", json!({ "handle": tab })).await;
    }

    /// Takes a picture of the whole page.
    pub(crate) async fn picture(&self) -> Vec<u8> {
        use base64::Engine as _;
        let whole = json!({ "format": "png", "captureBeyondViewport": true });
        let picture = self.devtools("Page.captureScreenshot", whole).await;
        let data = picture["data"].as_str().unwrap();
        base64::engine::general_purpose::STANDARD
            .decode(data)
            .unwrap()
    }

    /// Chooses on the settings page that pages do not change by themselves.
    pub(crate) async fn never_refresh(&self) {
        self.go("/settings").await;
        self.click("#refresh option", "never").await;
        self.click("button", "Save").await;
        self.wait_for(".notice", "Saved").await;
    }

    /// Returns when fonts, styles and pictures are there.
    pub(crate) async fn settle(&self) {
        self.run_async(
            "await document.fonts.ready; await new Promise(requestAnimationFrame); return null;",
        )
        .await;
    }

    /// Has every page keep what its content security policy forbade, and count what it heard from the stream.
    async fn watch_policy(&self) {
        let source = "window.forbidden = []; addEventListener('securitypolicyviolation', (event) => \
            forbidden.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`)); \
            window.ticks = 0; window.EventSource = class extends EventSource { \
            constructor(...all) { super(...all); this.addEventListener('tick', () => { ticks += 1; }); } };";
        self.devtools(
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": source }),
        )
        .await;
    }

    /// Gives what went wrong on the pages since it was last asked: what the policy forbade, and errors on the console.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let forbidden = self.run("return window.forbidden ?? [];").await;
        let log = self.command("se/log", json!({ "type": "browser" })).await;
        let logged = log.as_array().unwrap().iter();
        let errors = logged.filter(|entry| entry["level"] != "INFO" && entry["level"] != "DEBUG");
        let errors = errors.map(|entry| entry["message"].clone());
        let all = forbidden.as_array().unwrap().iter().cloned().chain(errors);
        all.map(|complaint| complaint.as_str().unwrap().to_owned())
            .collect()
    }
}

impl Drop for Browser {
    /// Closes the window. Drop cannot wait for a future, so this is HTTP by hand.
    fn drop(&mut self) {
        let Some((host, path)) = self.session["http://".len()..].split_once('/') else {
            return;
        };
        let Ok(mut stream) = TcpStream::connect(host) else {
            return;
        };
        let request =
            format!("DELETE /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        // The driver is ending too: then the window goes with it.
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok();
        stream.write_all(request.as_bytes()).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    }
}

async fn send(request: reqwest::RequestBuilder) -> Result<Value, String> {
    let answer = request.send().await.unwrap();
    let mut body: Value = answer.json().await.unwrap();
    let value = body["value"].take();
    match value["error"].as_str() {
        Some(error) => Err(format!(
            "{error}: {}",
            value["message"].as_str().unwrap_or_default()
        )),
        None => Ok(value),
    }
}
