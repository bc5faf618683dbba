//! Who reads whom among the models that somebody sees, and what follows from that for a picture of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use granary_tenants::ReadGrant;

use crate::catalog::sees;
use crate::{Model, Models};

/// The models that a reader sees, in the order in which they are made.
#[derive(Debug, Clone)]
pub struct Lineage<'a> {
    models: Vec<&'a Model>,
}

impl Models {
    /// Returns all of them, as whoever runs the installation sees them.
    pub fn all(&self) -> Lineage<'_> {
        Lineage { models: self.iter().collect() }
    }

    /// Returns the models that a grant shows, each after those it reads.
    pub fn seen_by<'a>(&'a self, grant: &ReadGrant) -> Lineage<'a> {
        Lineage { models: self.iter().filter(|model| sees(grant, model)).collect() }
    }
}

impl<'a> Lineage<'a> {
    /// Returns the models.
    pub fn models(&self) -> &[&'a Model] {
        &self.models
    }

    /// Returns the model of a name, if the reader sees it.
    pub fn get(&self, name: &str) -> Option<&'a Model> {
        self.models.iter().find(|model| model.name == name).copied()
    }

    /// Returns the models that a model reads, of those that the reader sees.
    pub fn reads(&self, model: &'a Model) -> BTreeSet<&'a str> {
        model.parents().filter(|parent| self.get(parent).is_some()).collect()
    }

    /// Returns the models that read a model.
    pub fn read_by(&self, name: &str) -> BTreeSet<&'a str> {
        self.models.iter().filter(|model| model.parents().any(|parent| parent == name)).map(|model| model.name.as_str()).collect()
    }

    /// Keeps what one model is made of, and what is made of it.
    #[must_use]
    pub fn around(&self, name: &str) -> Self {
        let reach = |next: &dyn Fn(&'a Model) -> BTreeSet<&'a str>| {
            let mut reached: BTreeSet<&str> = BTreeSet::new();
            let mut open: Vec<&'a Model> = self.get(name).into_iter().collect();
            while let Some(model) = open.pop() {
                if reached.insert(&model.name) {
                    open.extend(next(model).into_iter().filter_map(|other| self.get(other)));
                }
            }
            reached
        };
        let above = reach(&|model| self.reads(model));
        let below = reach(&|model| self.read_by(&model.name));
        let is_near = |model: &&&Model| above.contains(model.name.as_str()) || below.contains(model.name.as_str());
        Self { models: self.models.iter().filter(is_near).copied().collect() }
    }

    /// Returns the models by how many steps they are away from the raw rows.
    pub fn levels(&self) -> Vec<Vec<&'a Model>> {
        let mut level_of: BTreeMap<&str, usize> = BTreeMap::new();
        let mut levels: Vec<Vec<&'a Model>> = Vec::new();
        for model in &self.models {
            let level = model.parents().filter_map(|parent| level_of.get(parent)).max().map_or(0, |level| level + 1);
            level_of.insert(&model.name, level);
            levels.resize_with(levels.len().max(level + 1), Vec::new);
            levels[level].push(model);
        }
        levels
    }

    /// Writes the graph in the language of Graphviz.
    pub fn to_dot(&self) -> String {
        self.write(
            "digraph models {\n    rankdir = LR;\n",
            "}\n",
            |name| format!("    \"{name}\";"),
            |from, to| format!("    \"{from}\" -> \"{to}\";"),
        )
    }

    /// Writes the graph in the language of Mermaid.
    pub fn to_mermaid(&self) -> String {
        self.write("flowchart LR\n", "", |name| format!("    {name}"), |from, to| format!("    {from} --> {to}"))
    }

    fn write(&self, head: &str, foot: &str, node: impl Fn(&str) -> String, edge: impl Fn(&str, &str) -> String) -> String {
        let mut text = head.to_owned();
        for model in &self.models {
            let parents = self.reads(model);
            if parents.is_empty() {
                let _ = writeln!(text, "{}", node(&model.name));
            }
            for parent in parents {
                let _ = writeln!(text, "{}", edge(parent, &model.name));
            }
        }
        text + foot
    }
}

#[cfg(test)]
mod tests {
    use granary_types::Role;

    use crate::Models;
    use crate::fixture::grant;

    fn models() -> Models {
        let yml = |roles: &str| format!("description: d\ngrain: g\nowner: o\nroles: [{roles}]\ncolumns:\n    n:\n        description: d\n");
        let files = [
            ("a.sql", "select 1 as n".to_owned()),
            ("a.yml", yml("msp_admin, customer_viewer")),
            ("b.sql", "select n from a".to_owned()),
            ("b.yml", yml("msp_admin")),
            ("c.sql", "select a.n from a inner join b on b.n = a.n".to_owned()),
            ("c.yml", yml("msp_admin, customer_viewer")),
            ("d.sql", "select 2 as n".to_owned()),
            ("d.yml", yml("msp_admin")),
        ];
        Models::from_files(files.map(|(path, text)| (path.to_owned(), text))).unwrap()
    }

    #[test]
    fn the_picture_shows_what_the_reader_sees() {
        let models = models();
        let all = models.seen_by(&grant(Role::MspAdmin, None));
        assert_eq!(
            all.to_dot(),
            "digraph models {\n    rankdir = LR;\n    \"a\";\n    \"d\";\n    \"a\" -> \"b\";\n    \"a\" -> \"c\";\n    \"b\" -> \"c\";\n}\n"
        );
        let customer = models.seen_by(&grant(Role::CustomerViewer, None));
        assert_eq!(customer.to_mermaid(), "flowchart LR\n    a\n    a --> c\n");
        assert!(customer.get("b").is_none());
        assert_eq!(all.read_by("a").into_iter().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_model_stands_after_all_that_it_reads() {
        let models = models();
        let lineage = models.seen_by(&grant(Role::MspAdmin, None));
        let names = |levels: Vec<Vec<&crate::Model>>| -> Vec<Vec<String>> {
            levels.iter().map(|level| level.iter().map(|model| model.name.clone()).collect()).collect()
        };
        assert_eq!(names(lineage.levels()), [vec!["a", "d"], vec!["b"], vec!["c"]]);
        assert_eq!(names(lineage.around("b").levels()), [vec!["a"], vec!["b"], vec!["c"]]);
    }
}
