//! What selections would find now: `check` asks the clouds and writes nothing down.

use super::output::{counted, print_line, wrapped};
use super::scene::Scene;
use crate::assemble::Kit;
use crate::discovery::{News, merge};
use crate::fault::Fault;
use crate::ledger::known::Lists;
use crate::name::TargetName;

/// How many names a line shows.
const SHOWN: usize = 12;

/// Asks for each selection's instances, tells of them, and goes on as if they had been found. What cannot be listed is a finding, by the
/// selection's name; its instances are those of the last list then.
pub async fn look(scene: &mut Scene) -> Vec<(String, Fault)> {
    // What cannot be made is a finding of whoever makes it next, and so is a ledger that cannot be read.
    let Ok(kit) = Kit::of(scene.config()) else { return Vec::new() };
    let mut lists: Lists = scene.lists().unwrap_or_default();
    let mut findings = Vec::new();
    for search in kit.searches(scene.config()) {
        match search.provider.find(&search.sought.tags).await {
            Ok(found) => {
                let known = lists.remove(&search.selection).unwrap_or_default();
                let merged = merge(&search.sought, &known, found, scene.now());
                let live = merged.list.iter().filter(|known| known.retired.is_none());
                tell(&search.selection, &live.map(|known| known.instance.as_str()).collect::<Vec<_>>());
                merged.news.iter().filter_map(change).for_each(|line| say(&search.selection, &line));
                for (instance, why) in &merged.unfit {
                    say(&search.selection, &format!("{instance} carries the tags and is left out: {why}"));
                }
                lists.insert(search.selection, merged.list);
            }
            Err(fault) => findings.push((search.selection.to_string(), fault)),
        }
    }
    scene.take_found(&lists);
    findings
}

fn tell(selection: &TargetName, live: &[&str]) {
    let names = live.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { String::new() } else { format!(": {names}") };
    let more = if live.len() > SHOWN { format!(" and {} more", live.len() - SHOWN) } else { String::new() };
    say(selection, &format!("finds {}{names}{more}", counted(live.len(), "instance")));
}

/// What the daemon would do about it; new ones are named already.
fn change(news: &News) -> Option<String> {
    match news {
        News::Appeared { .. } => None,
        News::Returned { instance } => Some(format!("{instance} is there again and would go on")),
        News::Retired { instance, why } => Some(format!("{instance} would be retired: {why}")),
        News::Missing { instance } => Some(format!("{instance} is missing and would be retired by the next listing")),
        News::ManyMissing { missing, of } => Some(format!(
            "{missing} of {of} known instances are missing; they are retired only after this was seen for a while"
        )),
    }
}

fn say(selection: &TargetName, what: &str) {
    wrapped(&format!("{selection}: {what}"), 0).iter().for_each(|line| print_line(line));
}
