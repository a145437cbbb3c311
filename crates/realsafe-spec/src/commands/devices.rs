//! `devices`: what is compiled in, and what answers. Every device is asked in a process of its own, because drivers may
//! crash or hang.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use realsafe_core::device::{BACKENDS, Backend, open};
use realsafe_results::table;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, Outcome};
use crate::terminal::{Format, print, print_json};

/// How long a device may take to answer: kernels may have to be compiled.
const PATIENCE: Duration = Duration::from_secs(90);

/// How many devices of one kind are looked for.
const MOST: usize = 16;

/// List devices: what is compiled in, and what answers
#[derive(clap::Args)]
pub(crate) struct Devices {
    /// How the list is shown
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Compute something on a device
#[derive(clap::Args)]
pub(crate) struct Probe {
    device: String,
}

impl Probe {
    pub(crate) fn execute(&self) -> Outcome {
        open(&self.device)?;
        Ok(Exit::Done)
    }
}

/// A row of the list.
struct Answer {
    device: String,
    answers: bool,
    says: String,
}

impl Devices {
    pub(crate) fn execute(&self) -> Outcome {
        let mut answers = Vec::new();
        for backend in BACKENDS {
            answers.extend(ask(backend)?);
        }
        match self.format {
            Format::Text => {
                let row = |answer: Answer| vec![answer.device, answer.says];
                print(&table(&["device", "state"], 2..2, answers.into_iter().map(row)))?;
            }
            Format::Json => {
                let object = |answer: Answer| json!({ "device": answer.device, "answers": answer.answers, "state": answer.says });
                print_json(&answers.into_iter().map(object).collect::<Value>())?;
            }
        }
        Ok(Exit::Done)
    }
}

/// What the devices of a backend say.
fn ask(backend: Backend) -> Result<Vec<Answer>, Failure> {
    if let (false, Some(feature)) = (backend.available, backend.feature) {
        let says = format!("not compiled in; build with `--features {feature}`");
        return Ok(vec![Answer { device: backend.name.to_owned(), answers: false, says }]);
    }
    let mut answers = Vec::new();
    for pattern in backend.devices.split(", ") {
        let Some(prefix) = pattern.strip_suffix('N') else {
            answers.push(probe(pattern.to_owned())?);
            continue;
        };
        // Numbered devices beyond the first that is silent are not there.
        for number in 0..MOST {
            let answer = probe(format!("{prefix}{number}"))?;
            if !answer.answers {
                break;
            }
            answers.push(answer);
        }
    }
    Ok(answers)
}

/// Asks a device in a process of its own.
fn probe(device: String) -> Result<Answer, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["probe-device", &device]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let in_time = wait(&mut child)?;
    if !in_time {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    let answers = in_time && output.status.success();
    let says = match (answers, in_time) {
        (true, _) => "answers".to_owned(),
        (false, false) => format!("gave no answer in {} s", PATIENCE.as_secs()),
        (false, true) => reason(&String::from_utf8_lossy(&output.stderr), &output.status.to_string()),
    };
    Ok(Answer { device, answers, says })
}

/// Waits for the end of a process, but not for ever.
fn wait(child: &mut Child) -> Result<bool, Failure> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(false)
}

/// Our own words for a failure, or else how the process ended.
fn reason(told: &str, status: &str) -> String {
    let ours = told.lines().find_map(|line| line.strip_prefix("error: "));
    ours.map_or_else(|| format!("crashes ({status})"), str::to_owned)
}
