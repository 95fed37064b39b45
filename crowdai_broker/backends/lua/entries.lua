-- Reading the head of a response list.

-- The answer to a reader: first, and up to asked.limit entries that come to about asked.bytes. Plain values, since
-- graders write any bytes. Entries above asked.largest are answered with false. They are fetched one by one: how
-- large the next one is cannot be asked.
local function head(list, first)
  local answer, size = {first}, 0
  for index = 0, asked.limit - 1 do
    local entry = size < asked.bytes and call('LINDEX', list, index)
    if not entry then
      break
    end
    if #entry > asked.largest then
      entry = false
    else
      size = size + #entry
    end
    answer[#answer + 1] = entry
  end
  return answer
end
