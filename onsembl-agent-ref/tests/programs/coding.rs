//! The coding agents. A stand-in answers in the place of their services, so that they need neither an account nor a
//! network; all else is the programs themselves.

use crate::needs::Need::Npm;
use crate::table::Input::{Keys, Text};
use crate::table::{File, Program, turn};

fn claude() -> String {
    r#"{"hasCompletedOnboarding":true,"theme":"dark","autoUpdates":false,"customApiKeyResponses":{"approved":["stand-in-key-0123456"],"rejected":[]},"projects":{"{home}/work":{"hasTrustDialogAccepted":true,"projectOnboardingSeenCount":9,"hasCompletedProjectOnboarding":true}}}"#.to_owned()
}

fn codex() -> String {
    r#"model = "stand-in"
model_provider = "stand-in"
check_for_update_on_startup = false
approval_policy = "on-request"
sandbox_mode = "read-only"
[model_providers.stand-in]
name = "stand-in"
base_url = "{stand-in}/v1"
wire_api = "responses"
env_key = "STAND_IN_KEY"
[analytics]
enabled = false
[projects."{home}/work"]
trust_level = "trusted"
"#
    .to_owned()
}

fn gemini() -> String {
    r#"{"security":{"auth":{"selectedType":"gemini-api-key"},"folderTrust":{"enabled":false}},"general":{"enableAutoUpdate":false,"enableAutoUpdateNotification":false},"privacy":{"usageStatisticsEnabled":false},"telemetry":{"enabled":false},"ui":{"hideTips":true,"hideBanner":true}}"#.to_owned()
}

pub const CLAUDE: Program = Program {
    name: "claude",
    needs: &[Npm("claude")],
    words: &["claude", "--permission-mode", "default"],
    environment: &[
        ("ANTHROPIC_BASE_URL", "{stand-in}"),
        ("ANTHROPIC_API_KEY", "sk-ant-stand-in-key-0123456"),
        ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
        ("DISABLE_AUTOUPDATER", "1"),
        ("DISABLE_TELEMETRY", "1"),
    ],
    files: &[File { path: ".claude.json", text: claude }],
    ready: "for shortcuts",
    turns: &[
        turn(Text("say hello"), "hello, says the stand-in"),
        turn(Text("run touch made-here"), "Do you want to proceed?"),
        turn(Keys("enter"), "It ran, says the stand-in"),
    ],
    varies: &[" · done ", "medium · /effort"],
    last: turn(Text("say again"), "again, says the stand-in"),
    ..Program::NONE
};

pub const CODEX: Program = Program {
    name: "codex",
    needs: &[Npm("codex")],
    words: &["codex"],
    environment: &[("STAND_IN_KEY", "none")],
    files: &[File { path: ".codex/config.toml", text: codex }],
    ready: "for shortcuts",
    turns: &[
        turn(Text("say hello"), "hello, says the stand-in"),
        turn(Text("run touch made-here"), "Would you like to run the following command?"),
        turn(Keys("enter"), "It ran, says the stand-in"),
    ],
    varies: &["Worked for", "warning", "Tip: "],
    last: turn(Text("say again"), "again, says the stand-in"),
    ..Program::NONE
};

pub const GEMINI: Program = Program {
    name: "gemini",
    needs: &[Npm("gemini")],
    words: &["gemini"],
    environment: &[("GEMINI_API_KEY", "none"), ("GOOGLE_GEMINI_BASE_URL", "{stand-in}")],
    files: &[File { path: ".gemini/settings.json", text: gemini }],
    ready: "Type your message",
    // Until it has its session it queues prompts, and says so.
    begun: Some(".gemini/tmp/work/chats"),
    turns: &[
        turn(Text("say hello"), "hello, says the stand-in"),
        turn(Text("run touch made-here"), "Allow execution"),
        turn(Keys("enter"), "It ran, says the stand-in"),
    ],
    last: turn(Text("say again"), "again, says the stand-in"),
    ..Program::NONE
};

pub const AGENTS: &[Program] = &[CLAUDE, CODEX, GEMINI];
