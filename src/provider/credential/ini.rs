//! Profile files in sections, as both vendors' tools write them: `[name]`, `key = value`, `#` and `;` for comments.

use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The sections of a file.
pub(in crate::provider) struct Ini(BTreeMap<String, BTreeMap<String, Zeroizing<String>>>);

impl Ini {
    /// Reads a text. A `#` begins a comment inside a value too.
    ///
    /// # Errors
    /// A clause that names the line, and nothing of what stands there.
    pub(in crate::provider) fn parse(text: &str) -> Result<Self, String> {
        let mut sections: BTreeMap<String, BTreeMap<String, Zeroizing<String>>> = BTreeMap::new();
        let mut current = None;
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[') {
                let name = name.split('#').next().unwrap_or_default().trim_end();
                let name = name.strip_suffix(']').ok_or_else(|| format!("has no ] in line {number}"))?.trim();
                sections.entry(name.to_owned()).or_default();
                current = Some(name.to_owned());
                continue;
            }
            let (key, value) = line.split_once(['=', ':']).ok_or_else(|| format!("has no = in line {number}"))?;
            let section = current.as_ref().and_then(|name| sections.get_mut(name));
            let section = section.ok_or_else(|| format!("has a key before the first section, in line {number}"))?;
            let value = value.split('#').next().unwrap_or_default().trim();
            let key = key.trim().to_ascii_lowercase();
            if section.insert(key, Zeroizing::new(value.to_owned())).is_some() {
                return Err(format!("names a key for the second time in line {number}"));
            }
        }
        Ok(Self(sections))
    }

    /// A section's keys, none of them empty.
    pub(in crate::provider) fn section(&self, name: &str) -> Option<BTreeMap<&str, &str>> {
        let keys = self.0.get(name)?.iter().filter(|(_, value)| !value.is_empty());
        Some(keys.map(|(key, value)| (key.as_str(), value.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_comments_are_told_apart() {
        let ini =
            Ini::parse("\u{feff}; first\r\n[default] # here\r\nSecret_Id = a b # why\nkey: v=w\nempty =\n\n[two]\nx=1")
                .unwrap();
        let default = ini.section("default").unwrap();
        assert_eq!(default, BTreeMap::from([("key", "v=w"), ("secret_id", "a b")]));
        assert_eq!(ini.section("two").unwrap().len(), 1);
        assert!(ini.section("three").is_none());
        for (text, line) in [("[a\nx=1", 1), ("x=1", 1), ("[a]\nhunter2", 2), ("[a]\nx=hunter2\nX=hunter2", 3)] {
            let why = Ini::parse(text).err().unwrap();
            assert!(why.contains(&format!("line {line}")) && !why.contains("hunter2"), "{why}");
        }
    }
}
