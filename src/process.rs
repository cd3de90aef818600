//! Runs one foreign program: no shell, a minimal environment, bounded in time and output, and never left behind.

use crate::fault::scrub;
use crate::moment::show_span;
use crate::secret::Secret;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, set_parent_process_death_signal};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use zeroize::Zeroizing;

/// How much of a program's output is kept, in bytes. The rest is read and thrown away, so that the program never blocks on a full pipe.
pub const OUTPUT_LIMIT: usize = 16 * 1024;

/// How much of a program's output is shown in a fault, in characters.
pub const SHOWN_LIMIT: usize = 300;

/// The longest argument list, in arguments.
pub const ARGUMENT_LIMIT: usize = 64;

/// How long the output is still read after the program ended: something it left running may hold the pipe open for ever.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// The search path of a program where the daemon has none itself.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// From now on this process is asked to stop (SIGTERM) when its parent, which has this id, ends in whatever way.
///
/// # Errors
/// What the kernel says against it.
pub fn end_with_parent(parent: u32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // Of one that ended before the kernel was asked it tells nobody.
    if std::os::unix::process::parent_id() != parent {
        kill_process(rustix::process::getpid(), Signal::TERM)?;
    }
    Ok(())
}

/// A program that was found runnable in form: an absolute path, its arguments, what it may see, and how long it may take.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    environment: Vec<String>,
    timeout: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to its standard output and error, scrubbed and cut; empty when it was silent.
    pub output: String,
}

/// What a program answered. No `Debug`: the answer may be a secret.
pub struct Answered {
    /// How it ended, with what it wrote to its standard error, cut; nothing of that where it answered.
    pub ended: Ended,
    /// What it wrote to its standard output, whole.
    pub answer: Zeroizing<Vec<u8>>,
}

/// Why a program did not end by itself, or not well.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It could not be started.
    #[error("{path} could not be started: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long; its whole process group was killed.
    #[error("{path} did not end within {} and was killed{}", show_span(*.limit), said(.output))]
    TooLong {
        /// The program.
        path: PathBuf,
        /// The time it was given.
        limit: Duration,
        /// What it had written until then.
        output: String,
    },
    /// It answered more than is read.
    #[error("{path} answered with more than {limit} bytes")]
    TooMuch {
        /// The program.
        path: PathBuf,
        /// What is read at most.
        limit: usize,
    },
    /// It ended while something that it started could still write, so its answer may not be whole.
    #[error("{path} left something running that holds its standard output open")]
    HalfAnswered {
        /// The program.
        path: PathBuf,
    },
    /// The pipes to it failed.
    #[error("talking to {path} failed: {source}")]
    Pipe {
        /// The program.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Program {
    /// A program from its argument vector, the names of the variables it may inherit beside `PATH`, and its time limit.
    ///
    /// # Errors
    /// Every reason why it cannot be run, each a sentence.
    pub fn new(argv: &[String], environment: &[String], timeout: Duration) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let (first, arguments) = match argv.split_first() {
            Some((first, rest)) => (first.as_str(), rest),
            None => ("", argv),
        };
        if !Path::new(first).is_absolute() {
            wrong.push(format!("argv begins with {first:?}: it must begin with the program's absolute path"));
        }
        if argv.len() > ARGUMENT_LIMIT {
            wrong.push(format!("argv has {} entries, more than {ARGUMENT_LIMIT}", argv.len()));
        }
        if argv.iter().any(|argument| argument.contains('\0')) {
            wrong.push("argv holds a NUL character".to_owned());
        }
        for name in environment {
            if name.is_empty() || name.contains(['=', '\0']) {
                wrong.push(format!("environment lists {name:?}, which is not the name of a variable"));
            }
        }
        if timeout.is_zero() {
            wrong.push("timeout is zero: the program could never end in time".to_owned());
        }
        if wrong.is_empty() {
            Ok(Self {
                path: PathBuf::from(first),
                arguments: arguments.to_vec(),
                environment: environment.to_vec(),
                timeout,
            })
        } else {
            Err(wrong)
        }
    }

    /// The program's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the program exists and this process may execute it. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn executable(&self) -> Result<(), String> {
        let path = self.path.display();
        match std::fs::metadata(&self.path) {
            Err(error) => return Err(format!("The program {path} cannot be used: {error}")),
            Ok(about) if !about.is_file() => return Err(format!("{path} is not a program but a folder or device")),
            Ok(_) => {}
        }
        rustix::fs::access(&self.path, rustix::fs::Access::EXEC_OK)
            .map_err(|error| format!("The program {path} cannot be executed: {error}"))
    }

    /// The same without blocking, and in its time: a network disk may not answer.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub async fn found(&self) -> Result<(), String> {
        let program = self.clone();
        let found = tokio::task::spawn_blocking(move || program.executable());
        match tokio::time::timeout(self.timeout, found).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) | Err(_) => Err(format!("The disk did not answer whether {} is there", self.path.display())),
        }
    }

    /// Runs it with `input` on its standard input and `variables` in its environment, and waits for its end.
    ///
    /// The program leads a process group of its own, which is killed when the time is over or the returned future is dropped.
    /// `secrets` are removed from its output.
    ///
    /// # Errors
    /// Where it could not be started or did not end. A bad exit status is not an error here.
    pub async fn run(
        &self,
        input: Zeroizing<Vec<u8>>,
        variables: &[(&str, String)],
        secrets: &[&Secret],
    ) -> Result<Ended, ProgramError> {
        let heard = Heard::up_to(OUTPUT_LIMIT);
        let (status, _whole) = self.converse(input, variables, [&heard, &heard], |heard| heard.shown(secrets)).await?;
        Ok(Ended { status, output: heard.shown(secrets) })
    }

    /// Runs it as [`Program::run`] does, to hear what it writes to its standard output: at most `limit` bytes, and taken for a secret.
    ///
    /// # Errors
    /// As for [`Program::run`], and where the answer is too long or not whole.
    pub async fn ask(
        &self,
        input: Zeroizing<Vec<u8>>,
        variables: &[(&str, String)],
        limit: usize,
    ) -> Result<Answered, ProgramError> {
        let (answer, complaint) = (Heard::up_to(limit + 1), Heard::up_to(OUTPUT_LIMIT));
        // What it complains of after it has answered may repeat the answer, in whatever form.
        let shown = |complaint: &Heard| match answer.is_silent() {
            true => complaint.shown(&[]),
            false => "(not shown, because it had answered something before)".to_owned(),
        };
        let (status, whole) = self.converse(input, variables, [&answer, &complaint], shown).await?;
        let ended = Ended { status, output: shown(&complaint) };
        let answer = answer.taken();
        let path = || self.path.clone();
        match (whole, answer.len() > limit) {
            (_, true) => Err(ProgramError::TooMuch { path: path(), limit }),
            (false, false) => Err(ProgramError::HalfAnswered { path: path() }),
            (true, false) => Ok(Answered { ended, answer }),
        }
    }

    /// Says `input` to it and listens to its standard output and error until it ends. Answers its exit status, and whether its standard output was
    /// closed by then. `shown` makes the text for people of what it wrote to its standard error, should its time be over.
    async fn converse(
        &self,
        input: Zeroizing<Vec<u8>>,
        variables: &[(&str, String)],
        [out, err]: [&Heard; 2],
        shown: impl Fn(&Heard) -> String,
    ) -> Result<(ExitStatus, bool), ProgramError> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| OsString::from(DEFAULT_PATH)))
            .envs(self.environment.iter().filter_map(|name| std::env::var_os(name).map(|value| (name, value))))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|source| ProgramError::Start { path: self.path.clone(), source })?;
        let mut group = Group::of(&child);
        let stdin = child.stdin.take();
        let ears = [out.listen(child.stdout.take()), err.listen(child.stderr.take())];
        let ended = tokio::time::timeout(self.timeout, async {
            let told = async {
                if let Some(mut stdin) = stdin {
                    // A program that has heard enough closes its input; that is its right.
                    match stdin.write_all(&input).await {
                        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error),
                        Err(_) | Ok(()) => {}
                    }
                }
                Ok(())
            };
            tokio::try_join!(told, child.wait())
        })
        .await;
        let outcome = match ended {
            Ok(Ok(((), status))) => {
                group.spare();
                let mut whole = [true; 2];
                for (ear, whole) in ears.into_iter().zip(&mut whole) {
                    let stop = ear.abort_handle();
                    *whole = tokio::time::timeout(OUTPUT_GRACE, ear).await.is_ok();
                    stop.abort();
                }
                Ok((status, whole[0]))
            }
            Ok(Err(source)) => Err(ProgramError::Pipe { path: self.path.clone(), source }),
            Err(_elapsed) => {
                Err(ProgramError::TooLong { path: self.path.clone(), limit: self.timeout, output: shown(err) })
            }
        };
        drop(group);
        outcome
    }
}

impl Ended {
    /// How it ended, for people: `ended with status 3 and said: …`.
    pub fn describe(&self) -> String {
        let how = match self.status.code() {
            Some(code) => format!("ended with status {code}"),
            None => format!("was ended by a {}", self.status),
        };
        format!("{how}{}", said(&self.output))
    }
}

fn said(output: &str) -> String {
    if output.is_empty() { " without a word".to_owned() } else { format!(" and said: {output}") }
}

/// The process group of a running program; killed when this is dropped, unless spared.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw))
    }

    /// The leader ended by itself and was waited for: its number may belong to somebody else soon.
    fn spare(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // It can only fail because the group is gone already.
            let _gone = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// What a program has said so far, on one of its outputs or on both.
#[derive(Clone)]
struct Heard {
    said: Arc<Mutex<Zeroizing<Vec<u8>>>>,
    limit: usize,
}

impl Heard {
    /// Keeps this many bytes, in a buffer that does not grow and leave copies behind.
    fn up_to(limit: usize) -> Self {
        Self { said: Arc::new(Mutex::new(Zeroizing::new(Vec::with_capacity(limit)))), limit }
    }

    fn listen(&self, pipe: Option<impl AsyncRead + Unpin + Send + 'static>) -> tokio::task::JoinHandle<()> {
        let (heard, limit) = (self.said.clone(), self.limit);
        tokio::spawn(async move {
            let Some(mut pipe) = pipe else { return };
            let mut chunk = Zeroizing::new([0_u8; 4096]);
            while let Ok(length @ 1..) = pipe.read(&mut *chunk).await {
                let mut kept = heard.lock().unwrap_or_else(PoisonError::into_inner);
                let room = limit - kept.len();
                kept.extend_from_slice(&chunk[..length.min(room)]);
            }
        })
    }

    fn is_silent(&self) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// All of it, out of the buffer.
    fn taken(&self) -> Zeroizing<Vec<u8>> {
        std::mem::take(&mut *self.said.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The beginning of it for people, in one line, without the secrets.
    fn shown(&self, secrets: &[&Secret]) -> String {
        let heard = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let clean = scrub(&String::from_utf8_lossy(&heard), secrets);
        let mut kept: Vec<char> = clean.chars().collect();
        if heard.len() >= self.limit {
            // The cut may have gone through a secret, and half a secret is not recognised.
            let longest = secrets.iter().map(|secret| secret.expose().len()).max().unwrap_or(0);
            kept.truncate(kept.len().saturating_sub(longest));
        }
        let line: String = kept.into_iter().collect();
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() > SHOWN_LIMIT { line.chars().take(SHOWN_LIMIT).chain(['…']).collect() } else { line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, timeout: Duration) -> Program {
        let argv = ["/bin/sh", "-c", script].map(str::to_owned);
        Program::new(&argv, &["HOME".to_owned()], timeout).unwrap()
    }

    const AMPLE: Duration = Duration::from_secs(30);

    fn nothing() -> Zeroizing<Vec<u8>> {
        Zeroizing::new(Vec::new())
    }

    #[test]
    fn what_cannot_run_is_refused_with_every_reason() {
        let argv = vec!["sh".to_owned(), "a\0b".to_owned()];
        let wrong = Program::new(&argv, &["A=B".to_owned()], Duration::ZERO).unwrap_err();
        assert_eq!(wrong.len(), 4, "{wrong:?}");
        assert!(Program::new(&[], &[], AMPLE).is_err());
        let missing = Program::new(&["/no/such/program".to_owned()], &[], AMPLE).unwrap();
        assert!(missing.executable().unwrap_err().contains("/no/such/program"));
        let folder = Program::new(&["/".to_owned()], &[], AMPLE).unwrap();
        assert!(folder.executable().is_err());
        let plain = Program::new(&["/etc/passwd".to_owned()], &[], AMPLE).unwrap();
        assert!(plain.executable().is_err());
    }

    #[tokio::test]
    async fn input_environment_status_and_output_pass() {
        let program = shell("cat; env >&2; exit 3", AMPLE);
        let input = Zeroizing::new(b"hello hunter2\n".to_vec());
        let secret = Secret::new("hunter2".to_owned());
        let ended = program.run(input, &[("KEYWHEEL_TARGET", "t".to_owned())], &[&secret]).await.unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert!(ended.output.contains("hello [secret]"), "{}", ended.output);
        assert!(ended.output.contains("KEYWHEEL_TARGET=t"), "{}", ended.output);
        assert!(!ended.output.contains("CARGO"), "the environment is minimal: {}", ended.output);
    }

    #[tokio::test]
    async fn a_program_that_ignores_its_input_may() {
        let big = Zeroizing::new(vec![b'x'; 1 << 20]);
        assert!(shell("exit 0", AMPLE).run(big, &[], &[]).await.unwrap().status.success());
    }

    #[tokio::test]
    async fn endless_output_is_bounded_and_does_not_block() {
        let ended = shell("head -c 10000000 /dev/zero | tr '\\0' y", AMPLE).run(nothing(), &[], &[]).await.unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.output.chars().count(), SHOWN_LIMIT + 1);
    }

    #[tokio::test]
    async fn an_answer_is_whole_or_an_error_and_never_shown() {
        let answer = async |script: &str| shell(script, Duration::from_millis(500)).ask(nothing(), &[], 10).await;
        let heard = answer("printf 0123456789; echo noise >&2").await.ok().unwrap();
        assert_eq!((heard.answer.as_slice(), heard.ended.status.code()), (b"0123456789".as_slice(), Some(0)));
        let failed = answer("echo no token >&2; exit 3").await.ok().unwrap();
        assert_eq!(
            (failed.answer.len(), failed.ended.describe()),
            (0, "ended with status 3 and said: no token".to_owned())
        );
        let repeated = answer("echo hunter2; echo got hunter2 >&2; exit 3").await.ok().unwrap();
        assert!(repeated.ended.describe().contains("not shown"), "{}", repeated.ended.describe());
        for (script, said) in [
            ("printf 0123456789a", "answered with more than 10 bytes"),
            ("sleep 5 & echo hunter2", "left something running"),
            ("echo hunter2; echo hunter2 >&2; sleep 5", "did not end within 500ms"),
        ] {
            let error = answer(script).await.err().unwrap().to_string();
            assert!(error.contains(said) && !error.contains("hunter2"), "{script}: {error}");
        }
    }

    #[tokio::test]
    async fn half_a_secret_at_the_cut_is_not_shown() {
        let secret = Secret::new("S".repeat(OUTPUT_LIMIT));
        let ended = shell(&format!("printf a; head -c {} /dev/zero | tr '\\0' S", OUTPUT_LIMIT), AMPLE)
            .run(nothing(), &[], &[&secret])
            .await
            .unwrap();
        assert!(!ended.output.contains('S'), "{}", ended.output);
    }

    #[tokio::test]
    async fn the_whole_group_is_killed_when_the_time_is_over() {
        // The grandchild holds the write end of a FIFO: end-of-file on the other end proves that it is gone.
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let script = format!("sleep 600 > {} & echo started; wait", fifo.display());
        let program = shell(&script, Duration::from_millis(300));
        let reader = tokio::task::spawn_blocking(move || std::fs::read(fifo));
        let error = program.run(nothing(), &[], &[]).await.unwrap_err();
        assert!(matches!(error, ProgramError::TooLong { .. }), "{error}");
        assert!(error.to_string().contains("started"), "{error}");
        assert_eq!(reader.await.unwrap().unwrap(), b"");
    }

    #[tokio::test]
    async fn something_left_running_does_not_hold_us_up() {
        let ended = shell("sleep 5 & echo done", AMPLE).run(nothing(), &[], &[]).await.unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.output, "done");
    }
}
