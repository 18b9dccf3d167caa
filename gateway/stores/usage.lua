-- Appends rows to the ledger, once: asked again because the answer was lost, it does nothing.
-- KEYS: the stream, the mark that this batch is written.
-- ARGV: how many rows to keep at the most, seconds to remember the batch, fields and values per row, all rows' fields.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
local width = tonumber(ARGV[3])
for at = 4, #ARGV, width do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(ARGV, at, at + width - 1))
end
-- Last: where the stream is none, nothing says that it was written.
redis.call('SET', KEYS[2], '', 'EX', ARGV[2])
return 1
