-- Large bodies leave the rows that name them. A table without rowid is one tree whose steps compare whole entries, so a
-- large one is read again whenever a row beside it is looked for or added.

CREATE TABLE content (
  id INTEGER PRIMARY KEY,
  body BLOB NOT NULL
) STRICT;

ALTER TABLE event ADD COLUMN content INTEGER;
ALTER TABLE message ADD COLUMN content INTEGER;

-- Chunks of an open artifact are found by their numbers; every chunk of every stream paid for this.
DROP INDEX event_artifact;
