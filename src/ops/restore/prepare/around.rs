//! What is around code and configuration: tags, concurrency, aliases, event sources, and what never comes back.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::super::alias;
use super::super::beside;
use super::super::kept::Kept;
use super::super::layers::Fate;
use super::super::target::Existing;
use super::{Backup, Notes, Preparation, Steps, Task, mapped};

impl Preparation<'_> {
    /// Tags that the target lacks. Tags that it has beyond those of the backup stay.
    pub(super) fn tags(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) -> Map<String, Value> {
        let Some(head) = head(backup) else {
            return Map::new();
        };
        if head.lacks("Tags") {
            notes.lost("tags", "they could not be read when the backup was made");
        }
        let mut tags = head.tags().cloned().unwrap_or_default();
        let own: Vec<String> = tags
            .keys()
            .filter(|key| key.starts_with("aws:"))
            .cloned()
            .collect();
        for key in own {
            tags.shift_remove(&key);
            notes.lost(format!("tag {key}"), "tags of AWS's own cannot be set");
        }
        let Some(existing) = existing else {
            return tags;
        };
        let there = existing.described.answer().get("/Tags");
        let lacking: Vec<&str> = (tags.iter())
            .filter(|(key, value)| there.is_none_or(|there| there[key.as_str()] != **value))
            .map(|(key, _)| key.as_str())
            .collect();
        if !lacking.is_empty() {
            steps.add(Task::Tags, &self.place.name, lacking.join(", "));
        }
        let more: Vec<&str> = (there.and_then(Value::as_object).into_iter().flatten())
            .map(|(key, _)| key.as_str())
            .filter(|key| !tags.contains_key(*key) && !key.starts_with("aws:"))
            .collect();
        if !more.is_empty() {
            notes.lost(
                "absence of tags",
                format!("the target has more, which stay: {}", more.join(", ")),
            );
        }
        tags
    }

    pub(super) fn concurrency(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) {
        let kept = head(backup)
            .and_then(|head| head.answer["Concurrency"]["ReservedConcurrentExecutions"].as_u64());
        let path = "/Concurrency/ReservedConcurrentExecutions";
        let there = existing.and_then(|e| e.described.answer().get(path)?.as_u64());
        match (kept, there) {
            (Some(kept), there) if there != Some(kept) => {
                let was = there.map_or(String::new(), |there| format!(" (now {there})"));
                let detail = format!("{kept} reserved concurrent executions{was}");
                steps.add(Task::Concurrency(kept), &self.place.name, detail);
            }
            (None, Some(there)) => notes.lost(
                "absence of reserved concurrency",
                format!("the target has {there}, which stays"),
            ),
            _ => {}
        }
    }

    pub(super) fn aliases(
        backup: &Backup,
        existing: Option<&Existing>,
        layers: &BTreeMap<String, Fate>,
        numbers: &mut BTreeMap<String, Option<String>>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) {
        // A version that was not restored may still be there.
        for version in backup.aliases.iter().flat_map(alias::Kept::versions) {
            if version == "$LATEST" || numbers.contains_key(version) {
                continue;
            }
            let all = backup.versions.iter().chain(&backup.others);
            let kept = all.into_iter().find(|kept| kept.version == version);
            let same = existing.zip(kept).and_then(|(existing, kept)| {
                let fields = mapped(&kept.fields, layers)?;
                existing.same(kept.code_sha256(), &fields, 0, version)
            });
            if let Some(same) = same {
                numbers.insert(version.to_owned(), Some(same.version().to_owned()));
            }
        }
        for (at, alias) in backup.aliases.iter().enumerate() {
            let known = |version: &str| version == "$LATEST" || numbers.contains_key(version);
            if let Some(lacking) = alias.versions().find(|version| !known(version)) {
                notes.lost(
                    format!("alias {}", alias.name),
                    format!("it led to version {lacking}, which the target has not: --versions all republishes it"),
                );
                continue;
            }
            let number = |version: &str| match version {
                "$LATEST" => Some("$LATEST".to_owned()),
                version => numbers.get(version).cloned().flatten(),
            };
            let there = existing.and_then(|e| e.aliases.iter().find(|a| a.name == alias.name));
            let input = alias.input(number);
            if let (Some(there), Some(input)) = (there, &input)
                && alias::Kept::is(input, there)
            {
                continue;
            }
            let words = alias.words(|version| match number(version) {
                Some(number) => number,
                None => format!("the new version {version}"),
            });
            let now = there.map_or(String::new(), |there| format!(" (now {})", there.version));
            steps.add(Task::Alias(at), &alias.name, format!("to {words}{now}"));
        }
        for there in existing.iter().flat_map(|existing| &existing.aliases) {
            if !backup.aliases.iter().any(|alias| alias.name == there.name) {
                notes.lost(
                    format!("absence of alias {}", there.name),
                    "the backup has no such alias; it stays",
                );
            }
        }
    }

    /// Event source mappings, which are made disabled: who restores a function says when it begins.
    pub(super) fn event_sources(
        &self,
        backup: &Backup,
        existing: Option<&Existing>,
        steps: &mut Steps,
        notes: &mut Notes,
    ) {
        for (at, mapping) in backup.beside.sources.iter().enumerate() {
            let source = beside::source(mapping);
            let what = format!("event source {source}");
            let parts: Vec<&str> = source.split(':').collect();
            // A topic of Kafka of one's own is named by nothing of AWS's.
            if parts.first() == Some(&"arn") && parts.get(3) != Some(&&*self.place.region) {
                notes.lost(what, "it is in another region");
                continue;
            }
            if mapping["FilterCriteriaError"].is_object() {
                notes.lost(
                    what,
                    "its filter could not be read when the backup was made",
                );
                continue;
            }
            let qualifier = beside::qualifier(mapping);
            if qualifier.is_some_and(|q| q.bytes().all(|b| b.is_ascii_digit())) {
                notes.lost(
                    what,
                    "it led to a version, and versions have other numbers now",
                );
                continue;
            }
            let arn = existing.and_then(|e| e.text("/Configuration/FunctionArn"));
            let there = existing.iter().flat_map(|existing| &existing.sources);
            let made = there.into_iter().any(|there| {
                let of = there["FunctionArn"].as_str().zip(arn);
                beside::same_source(mapping, there)
                    && of.is_some_and(|(of, arn)| {
                        of.strip_prefix(arn).is_some_and(|q| {
                            q.strip_prefix(':') == qualifier
                                || (q.is_empty() && qualifier.is_none())
                        })
                    })
            });
            if !made {
                let to = qualifier.map_or(String::new(), |alias| format!(" for alias {alias}"));
                steps.add(
                    Task::EventSource(at),
                    &source,
                    format!("disabled{to}; enable it when the function shall begin"),
                );
            }
        }
    }

    /// What never comes back.
    pub(super) fn general(backup: &Backup, steps: &Steps, notes: &mut Notes) {
        let publishes = steps
            .tasks
            .iter()
            .any(|task| matches!(task, Task::Publish(_)));
        if publishes {
            notes.lost("version numbers", "Lambda gives new ones");
        }
        if !backup.beside.read {
            notes.lost(
                "event source mappings, resource policies, function URLs, asynchronous invocation, provisioned concurrency, code signing, runtime management, recursion control",
                "the backup has none of these (backup --config full keeps them)",
            );
        }
        if backup.beside.read && !backup.beside.sources_read {
            notes.lost(
                "event source mappings",
                "they could not be read when the backup was made",
            );
        }
        let what = |operation: &str| {
            let what = operation.trim_start_matches("Get");
            what.trim_start_matches("List").to_owned()
        };
        for operation in &backup.beside.found {
            notes.lost(
                what(operation),
                "it is in the store, and is not written back",
            );
        }
        for operation in &backup.beside.untold {
            notes.lost(
                what(operation),
                "whether there is any could not be read when the backup was made",
            );
        }
        notes.lost(
            "triggers outside Lambda (EventBridge, SNS, S3, API Gateway)",
            "Lambda does not tell who calls",
        );
    }
}

/// Tags and reserved concurrency belong to the function, and were asked for with `$LATEST`.
fn head(backup: &Backup) -> Option<&Kept> {
    let all = || backup.versions.iter().chain(&backup.others);
    all()
        .find(|kept| kept.version == "$LATEST")
        .or_else(|| all().last())
}
