//! `onsembl-agent presets`: what is known of programs that can be wrapped.

use super::print;
use super::view::View;
use super::{FAILED, OK, PresetsArgs};
use crate::preset::{BUILT_IN, Finding, Preset, check};
use anyhow::{Context, Result};
use serde_json::{Value, json};

pub(super) fn presets(args: &PresetsArgs, view: View) -> Result<u8> {
    let Some(name) = &args.name else {
        let mut all = Vec::new();
        for (name, _) in BUILT_IN {
            all.push(Preset::load(name)?);
        }
        view.lines(all.iter().map(line), || all.iter().map(object).collect())?;
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
    let object = |finding: &Finding| match finding {
        Finding::Good(text) => json!({ "ok": true, "text": text }),
        Finding::Bad(text) => json!({ "ok": false, "text": text }),
    };
    view.lines(lines, || found.iter().map(object).collect())?;
    let is_good = found.iter().all(|finding| matches!(finding, Finding::Good(_)));
    Ok(if is_good { OK } else { FAILED })
}

fn object(preset: &Preset) -> Value {
    let Preset { name, about, recorded_with, terminal, one_shot, .. } = preset;
    json!({
        "name": name, "about": about, "recorded_with": recorded_with,
        "terminal": terminal.is_some(), "one_shot": one_shot.is_some(),
    })
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
