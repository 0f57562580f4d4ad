//! Programs that a task runs.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Outcome;

/// Returns `cargo ARGUMENTS`, the same cargo that runs this task.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs a program in the foreground, after printing its command line.
///
/// # Errors
/// When it does not start, or does not end with success.
pub(crate) fn run(command: &mut Command) -> Outcome {
    println!("$ {}", line(command));
    let status = command.status().map_err(|error| format!("`{}` does not start: {error}", line(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", line(command)).into()) }
}

/// Runs a program and returns what it wrote to its standard output.
///
/// # Errors
/// As [`run`]; the error ends with the last lines of its standard error.
pub(crate) fn read(command: &mut Command) -> Outcome<String> {
    let output = command.output().map_err(|error| format!("`{}` does not start: {error}", line(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let written = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` failed: {}: {}", line(command), output.status, tail(&written)).into())
}

/// Runs a program with everything it writes going to a file, for work beside other work.
///
/// # Errors
/// As [`run`]; the error ends with the last lines of the file.
pub(crate) fn run_logged(command: &mut Command, log: &Path) -> Outcome {
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().map_err(|error| format!("`{}` does not start: {error}", line(command)))?;
    if status.success() {
        return Ok(());
    }
    let written = std::fs::read_to_string(log).unwrap_or_default();
    Err(format!("`{}` failed: {status}: {}", line(command), tail(&written)).into())
}

/// Returns whether a program of this name is on the search path.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Returns the command as one would type it, with the program's name without its folders.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Returns the last lines of a text that are not empty.
fn tail(text: &str) -> String {
    const LINES_MAX: usize = 8;
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(LINES_MAX)).copied().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_is_an_error_that_quotes_it() {
        let error = read(&mut cargo(["no-such-subcommand"])).unwrap_err().to_string();
        assert!(error.starts_with("`cargo no-such-subcommand` failed"), "{error}");
    }

    #[test]
    fn a_tail_is_the_last_lines() {
        let text: String = (0..20).map(|number| format!("{number}\n\n")).collect();
        assert_eq!(tail(&text), "12\n13\n14\n15\n16\n17\n18\n19");
    }
}
