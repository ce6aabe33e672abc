-- What an execution took: numbers in a line, see store/receipt.go. Empty: unfinished, or from before.
alter table executions add column receipt text not null default '';
