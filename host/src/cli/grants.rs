//! What the user lets a task reach, and whether that is what it needs.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{Usage, quote, secrets, values};
use crate::engine::description::{Capability, Description, Grant};
use crate::engine::{Directory, Environment, HostRule, network};

/// The options that grant something.
#[derive(Debug, Args)]
pub struct GrantArgs {
    /// Let the task reach a directory, read-only or (`:rw`) for writing
    #[arg(long = "dir", value_name = "HOST::GUEST[:ro|:rw]", value_parser = values::directory, help_heading = "Grants")]
    pub directories: Vec<Directory>,
    /// Let the task see an environment variable. NAME alone has the value that it
    /// has here; one that is written out stays in the shell's history
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = values::variable, help_heading = "Grants")]
    pub variables: Vec<values::Variable>,
    /// Let the task see the environment variables that a file names, in lines
    /// `NAME=VALUE`. What a later file says holds, and --env before any
    #[arg(long = "env-file", value_name = "FILE", help_heading = "Grants")]
    pub variable_files: Vec<PathBuf>,
    /// Let the task send HTTP requests to a host: `api.example.org`,
    /// `*.example.org` for all names under it, an address, a network
    /// `10.0.0.0/8`. Without a port: https on 443 and http on 80. Addresses that
    /// are not public are reached only where they are named themselves; what a
    /// proxy (HTTPS_PROXY) resolves is not checked
    #[arg(long = "allow-host", value_name = "HOST[:PORT]", help_heading = "Grants")]
    hosts: Vec<String>,
    /// The hosts, read.
    #[arg(skip)]
    pub rules: Vec<HostRule>,
}

impl GrantArgs {
    /// Reads what takes more than the command line: files of variables; and what
    /// no message may repeat.
    pub fn read(&mut self) -> Result<(), Usage> {
        if self.variables.iter().any(|variable| variable.name.is_empty()) {
            return Err(Usage("--env needs a name: write it as `NAME` or `NAME=VALUE`".into()));
        }
        let mut variables = Vec::new();
        for file in &self.variable_files {
            variables.extend(values::variables(file)?);
        }
        variables.append(&mut self.variables);
        // What is said later holds, and the command line before any file.
        for variable in variables {
            self.variables.retain(|earlier| earlier.name != variable.name);
            self.variables.push(variable);
        }
        for host in &self.hosts {
            // The value is not repeated: somebody may have put a password there.
            let rule = host.parse().map_err(|error| Usage(format!("--allow-host: {error}")))?;
            self.rules.push(rule);
        }
        Ok(())
    }

    /// The hosts, as they were written.
    pub fn host_texts(&self) -> Vec<String> {
        self.hosts.clone()
    }

    /// The variables, as the task gets them.
    pub fn environment(&self) -> Environment {
        let variables = self.variables.iter();
        Environment::new(variables.map(|v| (v.name.clone(), v.value.clone())).collect())
    }

    /// Checks that the directories can be had.
    pub fn check_directories(&self) -> Result<(), Usage> {
        let directories = &self.directories;
        for (i, directory) in directories.iter().enumerate() {
            let path = &directory.host_path;
            if let Err(error) = std::fs::read_dir(path) {
                return Err(Usage(format!("--dir `{}` cannot be opened: {error}", path.display())));
            }
            if directories[..i].iter().any(|d| d.guest_path == directory.guest_path) {
                let guest = &directory.guest_path;
                return Err(Usage(format!("two --dir grants have the same guest path `{guest}`")));
            }
        }
        Ok(())
    }

    /// What the task needs and was not given, and what it could use beside.
    pub fn missing<'a>(&self, description: &'a Description) -> (Vec<&'a Grant>, Vec<&'a Grant>) {
        let is_given = |grant: &Grant| match &grant.capability {
            Capability::Directory { guest_path, writable } => self.directories.iter().any(|d| {
                d.guest_path == guest_path.trim_end_matches('/') && (d.writable || !writable)
            }),
            Capability::Environment { name } => self.variables.iter().any(|v| v.name == *name),
            Capability::Host { name } => {
                name.parse().is_ok_and(|asked| network::covers(&self.rules, &asked))
            }
        };
        let missing: Vec<&Grant> = description.grants.iter().filter(|g| !is_given(g)).collect();
        missing.into_iter().partition(|grant| grant.required)
    }

    /// Says all at once what the task needs and was not given, with the command
    /// line that would work.
    pub fn check(&self, description: &Description, command_line: &[OsString]) -> Result<(), Usage> {
        let (missing, useful) = self.missing(description);
        if missing.is_empty() {
            for grant in useful {
                tracing::info!("The task may also use: {} ({})", grant.option(), grant.reason);
            }
            return Ok(());
        }
        let mut message = format!("the task {} needs more than was granted:", description.name);
        for grant in &missing {
            message.push_str(&format!("\n  {}   {}", grant.option(), grant.reason));
        }
        message.push_str("\nThis command line grants it:\n  ");
        for argument in secrets::without_values(command_line) {
            message.push_str(&quote(&argument));
            message.push(' ');
        }
        let options: Vec<String> = missing.iter().map(|grant| quoted(&grant.option())).collect();
        message.push_str(&options.join(" "));
        if missing.iter().any(|g| matches!(g.capability, Capability::Directory { .. })) {
            message.push_str("\nwith a directory of yours in place of HOST_DIR");
        }
        if !useful.is_empty() {
            message.push_str("\nIt may also use:");
        }
        for grant in useful {
            message.push_str(&format!("\n  {}   {}", grant.option(), grant.reason));
        }
        Err(Usage(message))
    }
}

/// An option with its value, as a shell takes it.
fn quoted(option: &str) -> String {
    match option.split_once(' ') {
        Some((name, value)) => format!("{name} {}", quote(value)),
        None => option.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_quoted_for_a_shell() {
        assert_eq!(quote("--dir"), "--dir");
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_wildcard_is_no_pattern_for_the_shell() {
        assert_eq!(quoted("--allow-host *.example.org"), "--allow-host '*.example.org'");
    }
}
