//! Lines on their way to a file or to standard error: a bounded queue, and one thread that writes.
//!
//! Invariants: who hands in a line never waits; lines are written whole, in their order; what finds no room, or cannot be written, is counted.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// So many lines wait to be written.
const MOST_LINES: usize = 8_192;

/// And so many bytes of them.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What is written at once, about.
const BLOCK_BYTES: usize = 64 * 1024;

/// Where lines are written. The thread ends with it, once all is written.
pub(crate) struct Lines {
    sender: SyncSender<Job>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
    reopens: AtomicBool,
}

enum Job {
    Line(String),
    /// Something is to be looked at.
    Wake,
    /// All before this is written once it is dropped.
    Flush {
        _done: SyncSender<()>,
    },
}

enum Sink {
    Stderr,
    File {
        path: PathBuf,
        file: File,
        /// The last write failed, and that was told.
        fails: bool,
    },
}

fn open(path: &Path) -> io::Result<File> {
    // Who asked for what is not for everybody on this machine.
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

impl Lines {
    /// To standard error.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn stderr() -> io::Result<Self> {
        Self::to(Sink::Stderr)
    }

    /// To the end of a file, which is made where it is missing.
    ///
    /// # Errors
    /// It cannot be opened, or there is no thread to be had.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        Self::to(Sink::File { path: path.to_owned(), file, fails: false })
    }

    fn to(sink: Sink) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(MOST_LINES);
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        thread::Builder::new().name("wtcache-lines".into()).spawn(move || write(&receiver, sink, &of_thread))?;
        Ok(Self { sender, shared })
    }

    /// Hands in a line, without its end. It is dropped, and counted, where as many wait as may.
    pub(crate) fn put(&self, line: String) {
        let (shared, length) = (&self.shared, line.len());
        // Relaxed, here and below: counts that guard no other memory.
        if shared.waiting_bytes.fetch_add(length, Ordering::Relaxed) + length <= MOST_BYTES
            && self.sender.try_send(Job::Line(line)).is_ok()
        {
            return;
        }
        shared.waiting_bytes.fetch_sub(length, Ordering::Relaxed);
        shared.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The file is opened anew by its name, before the next line is written: the old one was moved away.
    pub(crate) fn reopen(&self) {
        // Release: pairs with the writer's acquire. If the queue is full, the writer looks anyway.
        self.shared.reopens.store(true, Ordering::Release);
        let _ = self.sender.try_send(Job::Wake);
    }

    /// Waits until all that was handed in before is written, for so long at most.
    pub(crate) fn flush(&self, timeout: Duration) {
        let end = Instant::now() + timeout;
        let (told, done) = sync_channel(0);
        let mut job = Job::Flush { _done: told };
        while let Err(TrySendError::Full(back)) = self.sender.try_send(job) {
            if Instant::now() >= end {
                return;
            }
            job = back;
            thread::sleep(Duration::from_millis(1));
        }
        // The other end is dropped, never used.
        let _ = done.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}

fn write(receiver: &Receiver<Job>, mut sink: Sink, shared: &Shared) {
    let mut block = Vec::with_capacity(BLOCK_BYTES);
    while let Ok(first) = receiver.recv() {
        let (mut next, mut lines, mut flushed) = (Ok(first), 0, None);
        while let Ok(job) = next {
            match job {
                Job::Line(line) => {
                    block.extend_from_slice(line.as_bytes());
                    block.push(b'\n');
                    shared.waiting_bytes.fetch_sub(line.len(), Ordering::Relaxed);
                    lines += 1;
                }
                Job::Wake => {}
                flush @ Job::Flush { .. } => flushed = Some(flush),
            }
            let goes_on = block.len() < BLOCK_BYTES && flushed.is_none();
            next = if goes_on { receiver.try_recv() } else { Err(TryRecvError::Empty) };
        }
        if shared.reopens.swap(false, Ordering::Acquire) {
            sink.reopen();
        }
        if !block.is_empty() && !sink.write(&block) {
            shared.dropped.fetch_add(lines, Ordering::Relaxed);
        }
        block.clear();
        drop(flushed);
    }
}

impl Sink {
    /// Whether it was written.
    fn write(&mut self, block: &[u8]) -> bool {
        match self {
            Self::Stderr => io::stderr().lock().write_all(block).is_ok(),
            Self::File { path, file, fails } => match file.write_all(block) {
                Ok(()) => {
                    *fails = false;
                    true
                }
                Err(error) => {
                    if !std::mem::replace(fails, true) {
                        let (file, why) = (path.display().to_string(), error.to_string());
                        tracing::error!(name: "access_log_failed", file, why, "lines are lost");
                    }
                    false
                }
            },
        }
    }

    fn reopen(&mut self) {
        let Self::File { path, file, .. } = self else { return };
        let name = path.display().to_string();
        match open(path) {
            Ok(anew) => {
                *file = anew;
                tracing::info!(name: "access_log_reopened", file = name);
            }
            Err(error) => {
                let why = error.to_string();
                tracing::error!(name: "access_log_not_reopened", file = name, why, "the old file is written to");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("wtcache-lines-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn lines_are_written_in_their_order_and_to_a_new_file_once_it_was_moved_away() {
        let folder = Folder::new("order");
        let (path, moved) = (folder.0.join("log"), folder.0.join("log.1"));
        let lines = Lines::file(&path).unwrap();
        let expected: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
        (0..5_000).for_each(|n| lines.put(format!("line {n}")));
        lines.flush(PATIENCE);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        std::fs::rename(&path, &moved).unwrap();
        lines.put("to the old one".to_owned());
        lines.flush(PATIENCE);
        lines.reopen();
        lines.put("to the new one".to_owned());
        lines.flush(PATIENCE);
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), format!("{expected}to the old one\n"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "to the new one\n");
        assert_eq!(lines.dropped(), 0);
    }

    /// A pipe that nobody reads is full at some time, and then the writer hangs.
    #[test]
    fn who_hands_in_a_line_does_not_wait_for_a_writer_that_hangs() {
        let (mut reader, pipe) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(pipe));
        let lines = Lines::to(Sink::File { path: "pipe".into(), file, fails: false }).unwrap();
        let line = "x".repeat(1023);
        let sent = 3 * MOST_LINES;
        (0..sent).for_each(|_| lines.put(line.clone()));
        let dropped = lines.dropped();
        assert!(dropped > 0, "there is no room for {sent} lines");
        // What was taken comes once somebody reads.
        let taken = (sent as u64 - dropped) * 1024;
        let mut read = vec![0; usize::try_from(taken).unwrap()];
        reader.read_exact(&mut read).unwrap();
        assert!(read.chunks(1024).all(|read| read.strip_suffix(b"\n") == Some(line.as_bytes())));
        // And what cannot be written any more is counted.
        drop(reader);
        lines.put("lost".to_owned());
        lines.flush(PATIENCE);
        assert_eq!(lines.dropped(), dropped + 1);
    }

    #[test]
    fn their_bytes_are_bounded_too() {
        let (_reader, pipe) = io::pipe().unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(pipe));
        let lines = Lines::to(Sink::File { path: "pipe".into(), file, fails: false }).unwrap();
        (0..200).for_each(|_| lines.put("x".repeat(64 * 1024)));
        assert!((100..200).contains(&lines.dropped()), "{}", lines.dropped());
    }
}
