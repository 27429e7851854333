//! Which IAM actions larder needs: operation, action, resource, when.
//!
//! An operation's name is not always that of the action that allows it. Hints take the action from here, the README has
//! the table, and a test holds both against what AWS was asked.

/// A permission that a command needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permission {
    /// What is called; None where no call of larder's own stands behind it.
    pub operation: Option<&'static str>,
    /// The IAM action (Service Authorization Reference).
    pub action: &'static str,
    /// The resource that a policy names.
    pub resource: &'static str,
    /// When it is needed.
    pub when: &'static str,
    /// Which commands.
    pub commands: &'static str,
}

/// All of them.
pub const PERMISSIONS: &[Permission] = &[
    Permission {
        operation: Some("GetFunction"),
        action: "lambda:GetFunction",
        resource: "the function; with a qualifier `FUNCTION_ARN:QUALIFIER`",
        when: "always",
        commands: "fetch, backup",
    },
    Permission {
        operation: None,
        action: "lambda:ListTags",
        resource: "the function",
        when: "for the tags in GetFunction's answer; without it the record is `partial`",
        commands: "fetch, backup",
    },
    Permission {
        operation: None,
        action: "kms:Decrypt",
        resource: "the KMS key",
        when: "where environment or code are encrypted with a key of your own",
        commands: "fetch, backup",
    },
    Permission {
        operation: Some("GetLayerVersionByArn"),
        action: "lambda:GetLayerVersion",
        resource: "the layer version",
        when: "with `--layers`; by backup for layers that are used",
        commands: "fetch, backup",
    },
    Permission {
        operation: Some("GetObject"),
        action: "s3:GetObjectVersion",
        resource: "the object (`s3:GetObject` in a bucket without versions)",
        when: "where Lambda keeps no copy of the code (`S3ObjectStorageMode` is `REFERENCE`)",
        commands: "fetch, backup",
    },
    Permission {
        operation: Some("ListFunctions"),
        action: "lambda:ListFunctions",
        resource: "`*`: it takes no resource",
        when: "always",
        commands: "list, backup",
    },
    Permission {
        operation: Some("ListAliases"),
        action: "lambda:ListAliases",
        resource: "the function",
        when: "unless `--config none`",
        commands: "backup",
    },
    Permission {
        operation: Some("ListVersionsByFunction"),
        action: "lambda:ListVersionsByFunction",
        resource: "the function",
        when: "for functions that are named without a version",
        commands: "backup",
    },
    Permission {
        operation: Some("GetFunctionConfiguration"),
        action: "lambda:GetFunctionConfiguration",
        resource: "the function",
        when: "for functions that are named with a version or alias",
        commands: "backup",
    },
    Permission {
        operation: Some("GetCallerIdentity"),
        action: "sts:GetCallerIdentity",
        resource: "`*`: it needs no permission",
        when: "always, for the account",
        commands: "backup",
    },
    Permission {
        operation: Some("DescribeRegions"),
        action: "ec2:DescribeRegions",
        resource: "`*`: it takes no resource",
        when: "with `--all-regions`",
        commands: "list, backup",
    },
    Permission {
        operation: Some("GetResources"),
        action: "tag:GetResources",
        resource: "`*`: it takes no resource",
        when: "with `--tag`",
        commands: "list, backup",
    },
    Permission {
        operation: Some("AssumeRole"),
        action: "sts:AssumeRole",
        resource: "the role",
        when: "with `--role-arn`, or a profile that names a role",
        commands: "all that call AWS",
    },
];

/// The action that allows `operation`.
pub(super) fn action_of(operation: &str) -> &'static str {
    PERMISSIONS
        .iter()
        .find(|permission| permission.operation == Some(operation))
        .map_or("lambda:*", |permission| permission.action)
}

/// The table as the README has it.
pub fn markdown() -> String {
    use std::fmt::Write as _;
    PERMISSIONS.iter().fold(
        String::from(
            "| operation | IAM action | resource | when | commands |\n|---|---|---|---|---|\n",
        ),
        |mut out, p| {
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "| {} | `{}` | {} | {} | {} |",
                p.operation.unwrap_or("(none of its own)"),
                p.action,
                p.resource,
                p.when,
                p.commands
            );
            out
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).unwrap();
        assert!(
            readme.contains(&markdown()),
            "README.md lacks this table:\n{}",
            markdown()
        );
    }

    #[test]
    fn every_operation_has_an_action() {
        for permission in PERMISSIONS {
            let (service, action) = permission.action.split_once(':').unwrap();
            assert!(!service.is_empty() && !action.is_empty());
        }
        assert_eq!(action_of("GetLayerVersionByArn"), "lambda:GetLayerVersion");
    }
}
