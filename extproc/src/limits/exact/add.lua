-- Counts what was used without having been asked for, however much that is. `need` says in which window or bucket that was, of
-- bursts at what time; 0: now.

for i = 1, #KEYS do
  local c = counter(i)
  if not c.does.open(c) then return {2, now} end
  local at = c.need > 0 and c.need or nil
  if c.does == sliding then
    sliding.debit(c, c.cost, at)
  elseif c.does == burst then
    if at then c.ahead = math.max(c.raw, math.min(at - now, 0) * c.c) end
    c.does.debit(c, c.cost)
  elseif not at or at == c.finish then
    c.does.debit(c, c.cost)
  end
end
return {0, now}
