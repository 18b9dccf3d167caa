-- Holds a lease for longer, where it is still held. KEYS: the lease. ARGV: this asker's token, ms.
if redis.pcall('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
