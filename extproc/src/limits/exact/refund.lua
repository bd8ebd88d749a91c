-- Gives back what was debited to the first key, but nothing that has expired since: less may be allowed for it, and never more. `need` is the
-- mark that `spend` answered with; of bursts the argument behind those of the key is the time that it did so. The second key is of this
-- refund alone: a cluster's connection may send it twice.

local KEPT = 60000

local c = counter(1)
if not c.does.open(c) then return {2, now} end
if KEYS[2] and not redis.call('SET', KEYS[2], '1', 'NX', 'PX', KEPT) then return {0, now} end
if c.does == window then
  if c.finish == c.need and c.used > 0 then window.debit(c, -c.cost) end
elseif c.does == sliding then
  if c.newest - c.need < c.count then sliding.debit(c, -c.cost, c.need) end
else
  -- What was not drained of it yet: later debits may owe the rest to it.
  local left = c.need - (now - tonumber(ARGV[#ARGV])) * c.c
  local back = math.max(0, math.min(left, c.cost * c.a, c.ahead))
  if back > 0 then burst.debit(c, 0, -back) end
end
return {0, now}
