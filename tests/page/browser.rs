//! A browser that is told what to do: Debian's Chromium without a window, by way of its driver (the W3C's "WebDriver", as JSON over HTTP).

use crate::common::stage::until;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Where Debian puts it.
const CHROMIUM: &str = "/usr/bin/chromium";
const DRIVER: &str = "/usr/bin/chromedriver";

/// Longer than any command takes.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many times a driver is started that finds no port.
const ATTEMPTS: usize = 10;

/// Keys as the driver names them.
pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const DOWN: &str = "\u{e015}";
pub const UP: &str = "\u{e013}";

/// One browser with one page.
pub struct Browser {
    driver: Child,
    address: SocketAddr,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts one.
    pub fn start() -> Self {
        for program in [CHROMIUM, DRIVER] {
            let there = Path::new(program).exists();
            assert!(there, "{program} is not there: `apt-get install chromium chromium-driver` (tests/run does)");
        }
        let profile = tempfile::Builder::new().prefix("kw-browser-").tempdir().unwrap();
        // It looks for a port that is free on both kinds of loopback, which another one may take meanwhile; then it ends.
        let begun = (0..ATTEMPTS).find_map(|_| driver(profile.path()));
        let (driver, port) = begun.expect("the driver says its port");
        let mut browser =
            Self { driver, address: ([127, 0, 0, 1], port).into(), session: String::new(), _profile: profile };
        browser.session = browser.begin();
        browser
    }

    fn begin(&self) -> String {
        let folder = format!("--user-data-dir={}", self._profile.path().join("profile").display());
        let arguments = [
            "--headless=new",
            // A test may run as root, and in a container with a small /dev/shm.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--window-size=1440,900",
            &folder,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            // A test's own.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"binary": CHROMIUM, "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let begun = self.ask("POST", "/session", &wanted);
        begun["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {begun}")).to_owned()
    }

    /// Opens a page and waits until it is there.
    pub fn open(&self, address: &str) {
        self.tell("/url", json!({"url": address}));
    }

    /// Goes back to the page before.
    pub fn back(&self) {
        self.tell("/back", json!({}));
    }

    /// What a script's `return` gives.
    pub fn run(&self, script: &str) -> Value {
        self.tell("/execute/sync", json!({"script": script, "args": []}))
    }

    /// The same as a text.
    pub fn text(&self, script: &str) -> String {
        self.run(&format!("return String({script})")).as_str().unwrap().to_owned()
    }

    /// Waits until this holds on the page.
    pub fn until(&self, holds: &str) {
        until(holds, || self.run(&format!("return Boolean({holds})")) == true);
    }

    /// Types these keys, wherever the focus is.
    pub fn keys(&self, keys: &str) {
        let each = keys.chars().map(String::from);
        let actions: Vec<Value> =
            each.flat_map(|key| ["keyDown", "keyUp"].map(|act| json!({"type": act, "value": key}))).collect();
        self.tell("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Chromium's own commands.
    pub fn command(&self, name: &str, parameters: Value) -> Value {
        self.tell("/goog/cdp/execute", json!({"cmd": name, "params": parameters}))
    }

    /// Shows pages at this width, and as this colour scheme has them.
    pub fn looks(&self, width: u32, scheme: &str) {
        let screen = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", screen);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features);
    }

    /// The whole page as a PNG.
    pub fn picture(&self, file: &PathBuf) -> usize {
        let shot = self.command("Page.captureScreenshot", json!({"captureBeyondViewport": true}));
        let base64 = shot["data"].as_str().unwrap();
        let image = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, base64).unwrap();
        std::fs::write(file, &image).unwrap();
        image.len()
    }

    /// What the browser complained of since it was asked last: errors of scripts, requests that failed, violations of the policy.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.tell("/se/log", json!({"type": "browser"}));
        entries.as_array().unwrap().iter().map(ToString::to_string).collect()
    }

    /// That there is nothing to complain of.
    pub fn is_content(&self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "the browser complains: {}", complaints.join("\n"));
    }

    fn tell(&self, path: &str, what: Value) -> Value {
        self.ask("POST", &format!("/session/{}{path}", self.session), &what)
    }

    fn ask(&self, verb: &str, path: &str, what: &Value) -> Value {
        let body = self.exchange(verb, path, what).unwrap_or_else(|error| panic!("{path}: {error}"));
        let value = serde_json::from_str::<Value>(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        assert!(value["value"]["error"].is_null(), "{path} {what}: {}", value["value"]);
        value["value"].clone()
    }

    /// The body of what is answered. The driver keeps a connection whatever it is told: how long the answer is stands in its head.
    fn exchange(&self, verb: &str, path: &str, what: &Value) -> std::io::Result<String> {
        let body = what.to_string();
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(stream, "{verb} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")?;
        write!(stream, "Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
        let mut answer = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            answer.read_line(&mut line)?;
            match line.to_ascii_lowercase().split_once("content-length:") {
                Some((_, number)) => length = number.trim().parse().unwrap_or_default(),
                None if line.trim().is_empty() => break,
                None => {}
            }
        }
        let mut body = vec![0; length];
        answer.read_exact(&mut body)?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }
}

/// A driver and its port; `None` where it found none.
fn driver(home: &Path) -> Option<(Child, u16)> {
    let mut driver = Command::new(DRIVER)
        .arg("--port=0")
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let said = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_once("started successfully on port ").map(|(_, port)| port.trim_end_matches('.').to_owned())
    });
    let Some(port) = said.and_then(|port| port.parse().ok()) else {
        let _ended = driver.kill();
        driver.wait().unwrap();
        return None;
    };
    // Whoever writes to a closed pipe ends.
    std::thread::spawn(move || lines.for_each(drop));
    Some((driver, port))
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; the driver alone would leave it behind. A drop cannot fail.
        let _ = self.exchange("DELETE", &format!("/session/{}", self.session), &json!({}));
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
