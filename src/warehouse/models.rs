//! All models, in the order in which they can be planned: the order comes from the SQL itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

use datafusion::common::TableReference;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::resolve::resolve_table_references;

use crate::{Model, WarehouseError};

/// The files under `warehouse/` at build time: path from there, and text.
const EMBEDDED: &[(&str, &str)] = &include!(concat!(env!("OUT_DIR"), "/models.rs"));

/// A query that must return no rows.
#[derive(Debug, Clone)]
pub struct Check {
    pub name: String,
    pub sql: String,
}

/// The model graph: every model after the ones it reads, and the checks that stand beside them.
#[derive(Debug, Clone)]
pub struct Models {
    models: Vec<Model>,
    checks: Vec<Check>,
}

impl Models {
    /// Returns the models that this binary was built with.
    ///
    /// # Errors
    /// When a model does not parse; a test keeps that from happening.
    pub fn embedded() -> Result<Self, WarehouseError> {
        Self::from_files(EMBEDDED.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())))
    }

    /// Reads the models of a folder that is laid out like `warehouse/`.
    ///
    /// # Errors
    /// When a file cannot be read or a model does not parse.
    pub fn read(folder: &Path) -> Result<Self, WarehouseError> {
        let mut files = Vec::new();
        collect(folder, folder, &mut files)?;
        Self::from_files(files)
    }

    /// Reads the files of a folder from which models can be made: paths from there, and texts.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn files(folder: &Path) -> Result<BTreeMap<String, String>, WarehouseError> {
        let mut files = Vec::new();
        collect(folder, folder, &mut files)?;
        Ok(files.into_iter().collect())
    }

    /// Returns the models, every one after those it reads.
    pub fn iter(&self) -> impl Iterator<Item = &Model> {
        self.models.iter()
    }

    /// Reads models that stand beside ours and may read them; each after those it reads.
    pub(crate) fn beside(files: &BTreeMap<String, String>, ours: &Self) -> Result<Vec<Model>, WarehouseError> {
        let mut models = Vec::new();
        for (path, sql) in files.iter().filter(|(path, _)| path.ends_with(".sql")) {
            let wrong = |place: &str, problem: String| WarehouseError::OwnModel { place: place.to_owned(), problem };
            let stem = path.trim_end_matches(".sql");
            let name = stem.rsplit('/').next().unwrap_or(stem);
            let yml_path = format!("{stem}.yml");
            let yml = files.get(&yml_path).ok_or_else(|| wrong(path, format!("{yml_path} is missing")))?;
            let inputs = inputs_of(sql).map_err(|problem| wrong(path, problem))?;
            models.push(Model::parse(name, sql, yml, inputs).map_err(|error| match error {
                WarehouseError::Description { source, .. } => wrong(&yml_path, source.to_string()),
                WarehouseError::Model { problem, .. } => wrong(&yml_path, problem),
                other => other,
            })?);
        }
        let known = ours.iter().map(|model| model.name.as_str()).collect();
        in_order(models, &known).map_err(|error| match error {
            WarehouseError::Model { model, problem } => WarehouseError::OwnModel { place: format!("{model}.sql"), problem },
            other => other,
        })
    }

    /// Returns the model of a name.
    pub fn get(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// Returns the checks.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub(crate) fn from_files(files: impl IntoIterator<Item = (String, String)>) -> Result<Self, WarehouseError> {
        let files: BTreeMap<String, String> = files.into_iter().collect();
        let mut models = Vec::new();
        let mut checks = Vec::new();
        for (path, sql) in files.iter().filter(|(path, _)| path.ends_with(".sql")) {
            let stem = path.trim_end_matches(".sql");
            let name = stem.rsplit('/').next().unwrap_or(stem);
            if path.starts_with("tests/") {
                checks.push(Check { name: name.to_owned(), sql: sql.clone() });
                continue;
            }
            let broken = |problem: String| WarehouseError::Model { model: name.to_owned(), problem };
            let yml = files.get(&format!("{stem}.yml")).ok_or_else(|| broken(format!("{stem}.yml is missing")))?;
            let inputs = inputs_of(sql).map_err(broken)?;
            models.push(Model::parse(name, sql, yml, inputs)?);
        }
        Ok(Self { models: in_order(models, &BTreeSet::new())?, checks })
    }
}

/// Parses a query and returns the tables that it reads.
fn inputs_of(sql: &str) -> Result<Vec<TableReference>, String> {
    let mut statements = DFParser::parse_sql(sql).map_err(|error| error.to_string())?;
    let [statement @ Statement::Statement(_)] = statements.make_contiguous() else {
        return Err("a model is one query".to_owned());
    };
    resolve_table_references(statement, true).map(|(tables, _)| tables).map_err(|error| error.to_string())
}

/// Sorts the models so that each comes after those it reads; others are there already.
fn in_order(models: Vec<Model>, others: &BTreeSet<&str>) -> Result<Vec<Model>, WarehouseError> {
    let count = models.len();
    let mut waiting: BTreeMap<String, Model> = BTreeMap::new();
    for model in models {
        let name = model.name.clone();
        if waiting.insert(name.clone(), model).is_some() {
            return Err(WarehouseError::Model { model: name, problem: "there are two models of this name".to_owned() });
        }
    }
    let mut ordered: Vec<Model> = Vec::with_capacity(count);
    while !waiting.is_empty() {
        let ready: Vec<String> = waiting
            .values()
            .filter(|model| model.parents().all(|parent| !waiting.contains_key(parent)))
            .map(|model| model.name.clone())
            .collect();
        if ready.is_empty() {
            let names = waiting.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(WarehouseError::Model { model: names, problem: "these models read one another in a circle".to_owned() });
        }
        ordered.extend(ready.iter().filter_map(|name| waiting.remove(name)));
    }
    let known: BTreeSet<&str> = ordered.iter().map(|model| model.name.as_str()).chain(others.iter().copied()).collect();
    for model in &ordered {
        if let Some(parent) = model.parents().find(|parent| !known.contains(parent)) {
            return Err(WarehouseError::Model { model: model.name.clone(), problem: format!("reads {parent}, which is no model") });
        }
    }
    Ok(ordered)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "sql" || extension == "yml") {
            let name = path.strip_prefix(root).unwrap_or(&path).display().to_string().replace('\\', "/");
            files.push((name, fs::read_to_string(&path)?));
        }
    }
    Ok(())
}
