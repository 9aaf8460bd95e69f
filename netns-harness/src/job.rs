//! What is to be done on the test kernel, handed over as a file: the process that does it may be one of another kernel,
//! which shares nothing but the file system. Results come back as lines of JSON, flushed one by one, so that a kernel that
//! hangs loses none of the earlier ones.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{During, Result};

/// A job for the test kernel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// What to do.
    pub work: Work,
    /// The workspace.
    pub root: PathBuf,
    /// Where the programs under test are.
    pub programs: PathBuf,
    /// Where results, logs and captures go.
    pub out: PathBuf,
    /// Where keys are kept between runs.
    pub keys: PathBuf,
    /// Whether a person on a terminal reads the output.
    pub colour: bool,
    /// One line about the kernel, for reports.
    pub kernel: String,
}

/// The kinds of work.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Work {
    /// Play these scenarios, one after the other.
    Scenarios(Vec<String>),
    /// Tell the story of the three hosts.
    Demo,
    /// Measure.
    Bench {
        /// The figure, or all of them.
        name: Option<String>,
        /// Rounds per figure, if a number was asked for.
        rounds: Option<u32>,
    },
    /// Run a command for a person.
    Command(Vec<String>),
}

/// A line of the results file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Report {
    /// A scenario begins.
    Begun(String),
    /// A scenario ended.
    Ended(Outcome),
}

/// How a scenario ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario.
    pub name: String,
    /// What it proved, if it passed; what failed, if not.
    pub result: std::result::Result<Vec<String>, String>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Job {
    /// Writes the job where the test kernel finds it; the path.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn save(&self) -> Result<PathBuf> {
        fs::create_dir_all(&self.out)?;
        let path = self.out.join("job.json");
        let text = serde_json::to_string_pretty(self).during("writing a job")?;
        fs::write(&path, text).during(path.display())?;
        Ok(path)
    }

    /// Reads a job.
    ///
    /// # Errors
    /// When the file cannot be read or is not a job.
    pub fn load(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).during(path.display())?;
        serde_json::from_str(&text).during(path.display())
    }

    /// The results file.
    pub fn results(&self) -> PathBuf {
        self.out.join("results.jsonl")
    }

    /// The file that holds the exit code of the work done by a guest.
    pub fn exit_code(&self) -> PathBuf {
        self.out.join("exit-code")
    }

    /// Appends a line to the results, and makes sure that it has left the guest's memory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn report(&self, report: &Report) -> Result<()> {
        let mut line = serde_json::to_string(report).during("writing a report")?;
        line.push('\n');
        let mut file = File::options().create(true).append(true).open(self.results())?;
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        Ok(())
    }

    /// The results so far; a line that is still being written is left out.
    pub fn reports(&self) -> Vec<Report> {
        let text = fs::read_to_string(self.results()).unwrap_or_default();
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    }
}
