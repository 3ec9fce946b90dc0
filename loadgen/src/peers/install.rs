//! What peers need and this machine may lack. Nothing is installed: Python packages go into environments below
//! `target/peers`, Debian's packages are unpacked there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Tools of this machine, and of the folder beside it.
#[derive(Debug, Clone)]
pub struct Tools {
    pub folder: PathBuf,
    /// Whether what is missing is fetched.
    pub install: bool,
}

const SBIN: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

impl Tools {
    /// A program on the PATH, where Debian puts servers, or unpacked.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let unpacked = [self.unpacked().join("usr/sbin"), self.unpacked().join("usr/bin")];
        let folders = std::env::split_paths(&path).chain(SBIN.map(PathBuf::from)).chain(unpacked);
        folders.map(|folder| folder.join(name)).find(|file| file.is_file())
    }

    /// Where Debian's packages are unpacked.
    pub fn unpacked(&self) -> PathBuf {
        self.folder.join("debian")
    }

    /// The program, fetched with its packages where it is missing and that is allowed.
    pub fn program_of(&self, name: &str, packages: &[&str]) -> Result<PathBuf, String> {
        if let Some(found) = self.program(name) {
            return Ok(found);
        }
        let [first, ..] = packages else { return Err(format!("{name} is not on this machine")) };
        if self.install {
            self.unpack(packages)?;
        }
        self.program(name).ok_or_else(|| {
            format!(
                "{name} is not on this machine: `apt-get install {first}`, or --install unpacks it below target/peers"
            )
        })
    }

    pub fn unpack(&self, packages: &[&str]) -> Result<(), String> {
        let into = self.unpacked();
        let downloads = into.join("packages");
        fs::create_dir_all(&downloads).map_err(|error| format!("{}: {error}", downloads.display()))?;
        for package in packages {
            let mut fetch = Command::new("apt-get");
            run(fetch.args(["download", package]).current_dir(&downloads))?;
        }
        for entry in fs::read_dir(&downloads).into_iter().flatten().flatten() {
            run(Command::new("dpkg").arg("-x").arg(entry.path()).arg(&into))?;
            let _ = fs::remove_file(entry.path());
        }
        Ok(())
    }

    /// A Python with these requirements: `requirement` names one package or, as `-r FILE`, a file of them.
    pub fn python(&self, name: &str, requirement: &[&str], module: &str) -> Result<PathBuf, String> {
        let venv = self.folder.join(format!("python-{name}"));
        let python = venv.join("bin/python");
        let has = |python: &Path| {
            let import = Command::new(python).args(["-c", &format!("import {module}")]).output();
            import.is_ok_and(|output| output.status.success())
        };
        if has(&python) {
            return Ok(venv);
        }
        if !self.install {
            return Err(format!("its Python packages are not in {}: --install fetches them from PyPI", venv.display()));
        }
        let base = self.program("python3").ok_or("python3 is not on this machine: `apt-get install python3-venv`")?;
        run(Command::new(base).args(["-m", "venv", "--clear"]).arg(&venv))?;
        run(Command::new(&python)
            .args(["-m", "pip", "install", "-q", "--disable-pip-version-check"])
            .args(requirement))?;
        if has(&python) { Ok(venv) } else { Err(format!("{module} cannot be imported in {}", venv.display())) }
    }
}

/// Runs it to its end; what it said is the error.
fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
