//! `larder completions`.

use clap::Args;
use clap_complete::Shell;

use super::exit::Exit;
use super::help::Example;
use super::{args, output};
use crate::error::Result;

pub(super) const EXAMPLES: &[Example] = &[
    (
        "bash",
        "larder completions bash > ~/.local/share/bash-completion/completions/larder",
    ),
    (
        "zsh, where ~/.zfunc is in fpath",
        "larder completions zsh > ~/.zfunc/_larder",
    ),
    (
        "fish",
        "larder completions fish > ~/.config/fish/completions/larder.fish",
    ),
];

/// Arguments of `larder completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    pub shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script.
    pub fn run(&self) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::tree(), "larder", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_shell_has_a_script_that_knows_the_commands() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::tree(), "larder", &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in ["fetch", "unpack", "completions", "man", "expect-sha256"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
