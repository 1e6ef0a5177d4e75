//! `why COMMAND`: what it waits for, or what became of it, and how it came there.

use serde::Deserialize;

/// Steps that are told of to people: the first, and the latest; --json has all.
const STEPS: usize = 6;

#[derive(Debug, Deserialize)]
pub(super) struct CommandAnswer {
    command_id: String,
    summary: String,
    action: Option<String>,
    #[serde(default)]
    waits_on: Vec<Obstacle>,
    steps: Vec<Step>,
    #[serde(default)]
    gaps: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Obstacle {
    text: String,
}

#[derive(Debug, Deserialize)]
struct Step {
    at: String,
    status: String,
    because: String,
}

impl CommandAnswer {
    /// At most ten lines.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { command_id, summary, action, waits_on, steps, gaps } = self;
        let mut lines = vec![format!("Command {command_id}: {summary}")];
        // One is what the summary says.
        let obstacles = if waits_on.len() > 1 { waits_on.as_slice() } else { &[] };
        lines.extend(obstacles.iter().map(|obstacle| format!("  waits: {}", obstacle.text)));
        let left_out = steps.len().saturating_sub(STEPS.saturating_sub(obstacles.len()).max(1));
        for (n, step) in steps.iter().enumerate() {
            if n == 1 && left_out > 0 {
                lines.push(format!("  {left_out} steps are not shown; --json has them"));
            }
            if n == 0 || n > left_out {
                lines.push(format!("  {} {}: {}", step.at, step.status, step.because));
            }
        }
        if !gaps.is_empty() {
            lines.push(format!("Of its output, {}.", gaps.join("; ")));
        }
        if let Some(action) = action {
            lines.push(format!("What to do: {action}."));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_latest_steps_are_shown_in_ten_lines_at_most() {
        let step = |n: usize| Step {
            at: format!("t{n}"),
            status: "running".to_owned(),
            because: format!("cause {n}"),
        };
        let told = |steps: usize| CommandAnswer {
            command_id: "c".to_owned(),
            summary: "It runs.".to_owned(),
            action: Some("wait".to_owned()),
            waits_on: Vec::new(),
            steps: (0..steps).map(step).collect(),
            gaps: vec!["9 bytes of stdout are missing".to_owned()],
        };
        for steps in 0..20 {
            let lines = told(steps).lines();
            assert!(lines.len() <= 10, "{lines:#?}");
            let shown = lines.iter().filter(|line| line.contains("cause")).count();
            assert_eq!(shown, steps.min(STEPS), "{lines:#?}");
        }
        assert_eq!(
            told(8).lines().join("\n"),
            "Command c: It runs.\n  t0 running: cause 0\n  2 steps are not shown; --json has them\n  \
             t3 running: cause 3\n  t4 running: cause 4\n  t5 running: cause 5\n  t6 running: cause 6\n  \
             t7 running: cause 7\nOf its output, 9 bytes of stdout are missing.\nWhat to do: wait.",
        );
    }

    #[test]
    fn what_a_command_waits_for_is_a_line_each_where_there_is_more_than_one_thing() {
        let obstacle = |text: &str| Obstacle { text: text.to_owned() };
        let step = |n: usize| Step {
            at: format!("t{n}"),
            status: "queued".to_owned(),
            because: format!("cause {n}"),
        };
        let told = |waits_on: Vec<Obstacle>| CommandAnswer {
            command_id: "c".to_owned(),
            summary: "It waits.".to_owned(),
            action: Some("wait".to_owned()),
            waits_on,
            steps: (0..9).map(step).collect(),
            gaps: vec!["9 bytes of stdout are missing".to_owned()],
        };
        let lines = told(vec![obstacle("its agent is away"), obstacle("it is paused")]).lines();
        assert_eq!(
            lines.get(1..3).unwrap(),
            ["  waits: its agent is away", "  waits: it is paused"]
        );
        assert!(lines.len() <= 10, "{lines:#?}");
        let lines = told(vec![obstacle("its agent is away")]).lines();
        assert!(!lines.iter().any(|line| line.contains("waits: ")), "the summary says it");
    }
}
