//! A folder with the test's own plugins.toml, in which the program runs.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The folder with the program and the plugins: the one that this test was built into.
pub fn built() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().find(|folder| folder.join("fusemix").is_file());
    folder.expect("the program is not built: run ./check, or `cargo build --release --workspace` before this").into()
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A folder to run the program in.
pub struct Place(TempDir);

/// The result of a command.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    /// An empty folder with this plugins.toml.
    pub fn new(plugins_toml: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("plugins.toml", plugins_toml);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The program with these arguments (split at white space), not yet started.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(built().join("fusemix"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        command
    }

    /// Runs the program until it exits.
    pub fn run(&self, arguments: &str) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }

    /// Starts the program, and kills it after a while.
    pub fn kill_after(&self, arguments: &str, wait: Duration) {
        let mut running = self.start(arguments);
        std::thread::sleep(wait);
        running.kill().unwrap();
        running.wait().unwrap();
    }

    /// Runs the program, which must succeed, and parses the JSON that it prints.
    pub fn json(&self, arguments: &str) -> Value {
        self.json_code(arguments, 0)
    }

    /// Runs the program, which must exit with `code`, and parses the JSON that it prints.
    pub fn json_code(&self, arguments: &str, code: i32) -> Value {
        self.run(&format!("{arguments} --json")).json_code(code)
    }

    /// Starts the program.
    pub fn start(&self, arguments: &str) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

/// Interrupts a program, as Ctrl-C does.
pub fn interrupt(running: &Child) {
    let sent = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Copies a folder with all that is in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_folder(&path, &to);
        } else {
            std::fs::copy(&path, &to).unwrap();
        }
    }
}

/// Values as files have them: f32, little-endian.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect()
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}):\n{}\n{}", self.stdout, self.stderr))
    }

    /// The JSON that it printed; it must have exited with `code`.
    pub fn json_code(&self, code: i32) -> Value {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self.json()
    }

    /// Asserts the exit code and that standard error contains `message`.
    pub fn fails(&self, code: i32, message: &str) {
        let said = format!("{}{}", self.stdout, self.stderr);
        assert!(
            self.code == code && said.contains(message),
            "wanted {code} and {message:?}; got {}:\n{said}",
            self.code
        );
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}
