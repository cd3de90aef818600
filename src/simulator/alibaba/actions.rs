//! The actions of R-kvstore, version 2015-01-01, that a rotator calls: their names and their parameters.

use super::super::answer::Refusal;
use super::super::head::Head;
use super::super::tags::Wanted;
use crate::secret::Secret;
use std::collections::BTreeMap;

/// `x-acs-version`.
pub(super) const VERSION: &str = "2015-01-01";

/// The most tags in one request.
const MOST_TAGS: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    ModifyAccountPassword,
    ResetAccountPassword,
    ModifyInstanceAttribute,
    DescribeAccounts,
    DescribeInstanceAttribute,
    DescribeInstances,
}

impl Action {
    const ALL: [Self; 6] = [
        Self::ModifyAccountPassword,
        Self::ResetAccountPassword,
        Self::ModifyInstanceAttribute,
        Self::DescribeAccounts,
        Self::DescribeInstanceAttribute,
        Self::DescribeInstances,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ModifyAccountPassword => "ModifyAccountPassword",
            Self::ResetAccountPassword => "ResetAccountPassword",
            Self::ModifyInstanceAttribute => "ModifyInstanceAttribute",
            Self::DescribeAccounts => "DescribeAccounts",
            Self::DescribeInstanceAttribute => "DescribeInstanceAttribute",
            Self::DescribeInstances => "DescribeInstances",
        }
    }

    /// The parameters that must be there. Others are read where they are known and ignored where they are not: callers send
    /// RegionId and SourceBiz along.
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::ModifyAccountPassword => &["InstanceId", "AccountName", "OldAccountPassword", "NewAccountPassword"],
            Self::ResetAccountPassword => &["InstanceId", "AccountName", "AccountPassword"],
            Self::ModifyInstanceAttribute | Self::DescribeAccounts | Self::DescribeInstanceAttribute => &["InstanceId"],
            Self::DescribeInstances => &[],
        }
    }
}

/// A request whose required parameters are there.
#[derive(Debug)]
pub(in super::super) struct Call {
    pub(super) action: Action,
    parameters: BTreeMap<String, Secret>,
}

impl Call {
    /// Reads the parameters in the query and in a form body.
    pub(super) fn read(action: Action, head: &Head<'_>, body: &[u8]) -> Result<Self, Refusal> {
        let pairs = url::form_urlencoded::parse(head.query.as_bytes()).chain(url::form_urlencoded::parse(body));
        let parameters: BTreeMap<String, Secret> = pairs
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.into_owned(), Secret::new(value.into_owned())))
            .collect();
        match action.required().iter().find(|name| !parameters.contains_key(**name)) {
            Some(name) => Err(Refusal::new(&format!("Missing{name}"), format!("{name} is mandatory for this action."))),
            None => Ok(Self { action, parameters }),
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(Secret::expose)
    }

    /// `Tag.1.Key`, `Tag.1.Value` and so on, where there are any (Alibaba API document "DescribeInstances").
    ///
    /// # Errors
    /// A gap in the numbers, or more tags than the document takes.
    pub(super) fn tags(&self) -> Result<Vec<Wanted<'_>>, Refusal> {
        let tag = |number: usize| {
            let key = self.text(&format!("Tag.{number}.Key"))?;
            Some((key, self.text(&format!("Tag.{number}.Value"))))
        };
        let tags: Vec<Wanted<'_>> = (1..=MOST_TAGS).map_while(tag).collect();
        let named = self.parameters.keys().filter(|name| name.starts_with("Tag.") && name.ends_with(".Key")).count();
        if named == tags.len() {
            Ok(tags)
        } else {
            Err(Refusal::new("InvalidParameter", format!("Tags are numbered from 1 to {MOST_TAGS} without a gap.")))
        }
    }

    /// `PageNumber` from 1 and `PageSize`, at most `most` and 30 by default (Alibaba API document "DescribeInstances").
    pub(super) fn page(&self, most: usize) -> Result<(usize, usize), Refusal> {
        let number = |name: &str, otherwise: usize| self.text(name).map_or(Ok(otherwise), str::parse);
        match (number("PageNumber", 1), number("PageSize", 30)) {
            (Ok(page), Ok(size)) if page >= 1 && (1..=most).contains(&size) => Ok((page, size)),
            (Ok(_) | Err(_), Ok(_) | Err(_)) => Err(Refusal::new(
                "InvalidParameter",
                format!("PageNumber begins at 1 and PageSize is between 1 and {most}."),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::HeaderMap;

    fn read(action: Action, query: &str, body: &str) -> Result<Call, Refusal> {
        let headers = HeaderMap::new();
        Call::read(action, &Head { method: "POST", path: "/", query, headers: &headers }, body.as_bytes())
    }

    #[test]
    fn parameters_stand_in_the_query_in_the_body_or_in_both() {
        use Action::*;
        for (action, query, body, code) in [
            (ResetAccountPassword, "InstanceId=i&AccountName=a&AccountPassword=p", "", None),
            (ResetAccountPassword, "", "InstanceId=i&AccountName=a&AccountPassword=p", None),
            (ResetAccountPassword, "InstanceId=i&RegionId=r", "AccountName=a&AccountPassword=p", None),
            (ResetAccountPassword, "InstanceId=i&AccountName=a", "", Some("MissingAccountPassword")),
            (ResetAccountPassword, "InstanceId=i&AccountName=a&AccountPassword=", "", Some("MissingAccountPassword")),
            (
                ModifyAccountPassword,
                "InstanceId=i&AccountName=a&NewAccountPassword=p",
                "",
                Some("MissingOldAccountPassword"),
            ),
            (DescribeAccounts, "", "", Some("MissingInstanceId")),
            (DescribeInstances, "", "", None),
        ] {
            assert_eq!(read(action, query, body).err().map(|refusal| refusal.code).as_deref(), code, "{query} {body}");
        }
        let call = read(DescribeAccounts, "InstanceId=a%2Bb+c%21", "").unwrap();
        assert_eq!(call.text("InstanceId"), Some("a+b c!"));
    }

    #[test]
    fn pages_have_bounds() {
        for (query, page) in [
            ("", Some((1, 30))),
            ("PageNumber=3&PageSize=50", Some((3, 50))),
            ("PageSize=51", None),
            ("PageSize=0", None),
            ("PageNumber=0", None),
            ("PageNumber=two", None),
        ] {
            assert_eq!(read(Action::DescribeInstances, query, "").unwrap().page(50).ok(), page, "{query}");
        }
    }
}
