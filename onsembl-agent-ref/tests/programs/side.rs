//! One run of a program: its own home and working directory, its environment, and the processes that carry its mark.
//!
//! The same program runs on several sides at once, wrapped and in tmux. Their names have the same length, so that
//! what a program shows of its folder is cut at the same columns.

use crate::needs;
use crate::table::Program;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A variable that everything a side starts has in its environment.
const MARK: &str = "PROGRAMS_SIDE";

#[derive(Debug)]
pub struct Side {
    folder: PathBuf,
    environment: Vec<(String, String)>,
    words: Vec<String>,
    begun: PathBuf,
}

impl Side {
    /// Makes the folders of a side and what the program needs in them. `stand_in` is the address of the stand-in for
    /// the program's service.
    pub fn new(root: &Path, name: char, program: &Program, stand_in: &str) -> Self {
        let folder = root.join(name.to_string());
        std::fs::create_dir_all(folder.join("work")).expect("a folder");
        let fill = |text: &str| {
            text.replace("{home}", &folder.display().to_string()).replace("{stand-in}", stand_in)
        };
        for file in program.files {
            let path = folder.join(file.path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, fill(&(file.text)())).expect("a file");
        }
        let home = folder.display().to_string();
        let mut environment = vec![
            ("PATH".to_owned(), needs::path()),
            ("PYTHONPATH".to_owned(), needs::python_path().display().to_string()),
            ("HOME".to_owned(), home.clone()),
            ("TERM".to_owned(), "xterm-256color".to_owned()),
            ("COLORTERM".to_owned(), "truecolor".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            (MARK.to_owned(), home),
        ];
        environment
            .extend(std::env::var(crate::CASE_MARK).map(|v| (crate::CASE_MARK.to_owned(), v)));
        let own = program.environment.iter();
        environment.extend(own.map(|(name, value)| ((*name).to_owned(), fill(value))));
        let words = program.words.iter().map(|word| fill(word)).collect();
        let begun = folder.join(program.begun.unwrap_or_default());
        let side = Self { folder, environment, words, begun };
        for script in program.before {
            let done = Command::new("sh")
                .args(["-ec", script])
                .current_dir(side.work())
                .env_clear()
                .envs(side.environment())
                .output()
                .expect("sh can be run");
            assert!(done.status.success(), "{script}: {done:?}");
        }
        side
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn work(&self) -> PathBuf {
        self.folder.join("work")
    }

    /// Waits until the program has begun, where its screen does not show that.
    pub fn has_begun(&self) {
        crate::bench::eventually("it has begun", || self.begun.exists());
    }

    /// The program and its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `text`, with the folder of this side replaced by that of no side in particular.
    pub fn without_folder(&self, text: &str) -> String {
        let folder = self.folder.display().to_string();
        let (root, _) = folder.rsplit_once('/').expect("it is absolute");
        text.replace(&folder, &format!("{root}/*"))
    }

    /// The processes of this side, but for that of an agent.
    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.folder.display());
        marked(&mark).into_iter().filter(|pid| !is_agent(*pid)).collect()
    }
}

/// The processes that have this in their environment.
pub fn marked(mark: &str) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|part| part == mark.as_bytes())
    })
    .collect()
}

fn is_agent(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.starts_with("onsembl")
}
