//! `onsembl-agent presets`: what is known of programs that can be wrapped.

use super::print;
use super::{FAILED, OK, PresetsArgs};
use crate::preset::{BUILT_IN, Finding, Preset, check};
use anyhow::{Context, Result};

pub(super) fn presets(args: &PresetsArgs) -> Result<u8> {
    let Some(name) = &args.name else {
        let mut lines = Vec::new();
        for (name, _) in BUILT_IN {
            lines.push(line(&Preset::load(name)?));
        }
        print::lines(lines).context("cannot write to stdout")?;
        return Ok(OK);
    };
    let preset = Preset::load(name)?;
    if !args.check {
        let text = match BUILT_IN.iter().find(|(built_in, _)| built_in == name) {
            Some((_, text)) => (*text).to_owned(),
            None => std::fs::read_to_string(name)?,
        };
        print::json(text.trim_end()).context("cannot write to stdout")?;
        return Ok(OK);
    }
    let found = check(&preset);
    let lines = found.iter().map(|finding| match finding {
        Finding::Good(what) => format!("ok       {what}"),
        Finding::Bad(why) => format!("amiss    {why}"),
    });
    print::lines(lines.collect::<Vec<_>>()).context("cannot write to stdout")?;
    let is_good = found.iter().all(|finding| matches!(finding, Finding::Good(_)));
    Ok(if is_good { OK } else { FAILED })
}

fn line(preset: &Preset) -> String {
    let forms = match (&preset.terminal, &preset.one_shot) {
        (Some(_), Some(_)) => "terminal, one prompt",
        (Some(_), None) => "terminal",
        (None, Some(_)) => "one prompt",
        (None, None) => "none",
    };
    let Preset { name, about, recorded_with, .. } = preset;
    format!("{name:<8} {about:<45} {forms:<22} recorded with {recorded_with}")
}
