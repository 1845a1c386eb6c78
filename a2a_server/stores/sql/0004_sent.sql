-- Nothing looks for accepted sends by the end of their time: a repeat is found by its name, and they go with their task.
-- Every send paid for this.
DROP INDEX sent_expires;
