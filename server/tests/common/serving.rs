//! The `wtcache` command as a process: what it prints, and signals to it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// The walk alone waits out a settle window of three seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn wtcache(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wtcache"));
    command.args(arguments).env_remove("INVENTORY_API").env_remove("INVENTORY_API_KEY").stdin(Stdio::null());
    command
}

/// Waits for what the process `pid` does, and ends it if it does not.
pub(crate) fn within_patience<T: Send + 'static>(pid: u32, wait: impl FnOnce() -> T + Send + 'static) -> T {
    let (told, done) = mpsc::channel();
    std::thread::spawn(move || told.send(wait()));
    done.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        signal(pid, "-KILL");
        panic!("the command did not end");
    })
}

pub(crate) fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// A command that serves; killed if the test ends before it does.
pub(crate) struct Serving {
    child: Option<Child>,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Serving {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child: Some(child), stdout }
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "its output ended: {line:?}");
        line.trim_end().to_owned()
    }

    pub(crate) fn lines_to(&mut self, last: &str) -> Vec<String> {
        let mut lines = vec![self.line()];
        while !lines.last().unwrap().contains(last) {
            lines.push(self.line());
        }
        lines
    }

    /// The next line of its standard error; nothing else may read that meanwhile.
    pub(crate) fn stderr_line(&mut self) -> String {
        let child = self.child.as_mut().unwrap();
        let (pid, mut stderr) = (child.id(), child.stderr.take().unwrap());
        let (line, stderr) = within_patience(pid, move || {
            let mut line = Vec::new();
            let mut byte = [0];
            // Byte by byte: what comes after it is for others.
            while stderr.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
                line.push(byte[0]);
            }
            (String::from_utf8(line).unwrap(), stderr)
        });
        self.child.as_mut().unwrap().stderr = Some(stderr);
        line
    }

    /// The next one with these words.
    pub(crate) fn stderr_line_with(&mut self, words: &str) -> String {
        loop {
            let line = self.stderr_line();
            if line.contains(words) || line.is_empty() {
                return line;
            }
        }
    }

    /// Nobody reads its output any more.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.as_ref().unwrap().id(), name);
    }

    /// Its exit status and what else it printed.
    pub(crate) fn end(mut self) -> (ExitStatus, String, String) {
        let mut child = self.child.take().unwrap();
        let stdout = self.stdout.take();
        within_patience(child.id(), move || {
            let (mut out, mut err) = (String::new(), String::new());
            if let Some(mut stdout) = stdout {
                stdout.read_to_string(&mut out).unwrap();
            }
            child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
            (child.wait().unwrap(), out, err)
        })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A folder of this test's own, removed at its end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// With the demo's files.
    pub(crate) fn of_demo(name: &str) -> Self {
        let folder = Self::new(name);
        folder.write("schema.graphql", include_str!("../../demo/schema.graphql"));
        folder.write("config.yaml", include_str!("../../demo/config.yaml"));
        folder
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).unwrap();
    }

    pub(crate) fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The address in the text, after its last `http://`.
pub(crate) fn address_in(text: &str) -> SocketAddr {
    let rest = text.rsplit("http://").next().unwrap();
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').parse().unwrap()
}

/// The lines of a log that tell of more than how things go.
pub(crate) fn warnings(err: &str) -> Vec<&str> {
    err.lines().filter(|line| !line.contains(" INFO  ")).collect()
}
