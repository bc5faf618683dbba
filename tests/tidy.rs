//! Keeps the house tidy: sizes, names, and SQL only where SQL belongs.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::path::{Path, PathBuf};

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|found| found == extension) {
                found.push(entry);
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} under {folder}");
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn no_source_file_has_outgrown_its_subject() {
    let long: Vec<String> = files("src", "rs")
        .into_iter()
        .chain(files("tests", "rs"))
        .map(|path| (read(&path).lines().count(), path))
        .filter(|(lines, _)| *lines > 600)
        .map(|(lines, path)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "ask what these files are really about: {long:#?}");
}

#[test]
fn migrations_are_numbered_without_gaps_and_say_why() {
    for folder in ["platform-migrations", "tenant-migrations"] {
        for (index, path) in files(folder, "sql").iter().enumerate() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let expected = format!("V{:04}__", index + 1);
            assert!(name.starts_with(&expected), "{folder}/{name} should begin with {expected}");
            let noun = name.trim_start_matches(&expected).trim_end_matches(".sql");
            assert!(noun.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'), "{folder}/{name}");
            assert!(read(path).starts_with("-- "), "{folder}/{name} should open with the reason for it");
        }
    }
}

#[test]
fn every_model_has_its_grain_and_tests_beside_it() {
    for model in files("warehouse", "sql").iter().filter(|path| !path.components().any(|part| part.as_os_str() == "tests")) {
        let description = model.with_extension("yml");
        assert!(description.exists(), "{} has no .yml beside it", model.display());
        assert!(read(&description).contains("grain:"), "{} does not state its grain", description.display());
        assert!(read(model).trim_end().ends_with("from final"), "{} should end with select * from final", model.display());
    }
}

#[test]
fn sql_stands_in_stores_only() {
    let is_home_of_sql = |path: &Path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        name == "store"
            || name.ends_with("_store")
            || name == "queries"
            || name.ends_with("_queries")
            || is_test_module(path, name)
            || path
                .components()
                .any(|part| matches!(part.as_os_str().to_str(), Some("store" | "queries" | "tests" | "export_tests" | "db" | "benches")))
    };
    let mut found = Vec::new();
    for path in files("src", "rs").into_iter().filter(|path| !is_home_of_sql(path)) {
        let text = read(&path);
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (index, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let line = line.to_lowercase();
            if ["\"select ", "\"insert into ", "\"update ", "\"delete from ", "\"with "].iter().any(|sql| line.contains(sql))
                && (line.contains(" from ") || line.contains("insert into") || line.contains(" set ") || line.contains(" as ("))
                && !line.contains("granary query")
            {
                found.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    assert!(found.is_empty(), "move this SQL into the room's store.rs or queries.rs: {found:#?}");
}

/// A file that its room declares under `#[cfg(test)]`.
fn is_test_module(path: &Path, name: &str) -> bool {
    let declaration = format!("#[cfg(test)]\nmod {name};");
    let folder = path.parent().unwrap();
    [folder.join("lib.rs"), folder.join("mod.rs"), folder.with_extension("rs")]
        .iter()
        .any(|parent| std::fs::read_to_string(parent).is_ok_and(|text| text.contains(&declaration)))
}

#[test]
fn every_room_says_what_it_is() {
    for path in files("src", "rs").iter().filter(|path| path.ends_with("lib.rs")) {
        assert!(read(path).starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn there_are_no_drawers() {
    for path in files("src", "rs") {
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(!matches!(name, "util" | "utils" | "helper" | "helpers" | "common" | "misc"), "{}", path.display());
    }
}

#[test]
fn a_tenant_has_at_most_26_tables() {
    let tables: usize = files("tenant-migrations", "sql").iter().map(|path| read(path).matches("\ncreate table ").count()).sum();
    assert!(tables < 26, "{tables} tables and refinery's own");
}

#[test]
fn a_document_names_only_tests_that_exist() {
    let code: String = files("src", "rs").into_iter().chain(files("tests", "rs")).map(|path| read(&path)).collect();
    let missing: Vec<String> = files("docs", "md")
        .iter()
        .flat_map(|path| read(path).split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| {
            name.split('_').count() > 5 && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .filter(|name| !code.contains(&format!("fn {name}(")))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
