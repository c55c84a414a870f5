-- Sends prepared requests in turn. Arguments: a file with a path, a tab and a token on each line, and where in it to begin.
local requests, next_request = {}, 0

function init(arguments)
  for line in io.lines(arguments[1]) do
    local path, token = line:match("(%S+)\t(%S*)")
    local authorization = token ~= "" and "Authorization: Bearer " .. token .. "\r\n" or ""
    requests[#requests + 1] = "GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nUser-Agent: wrk\r\nAccept: */*\r\n"
      .. "Accept-Encoding: gzip\r\n" .. authorization .. "\r\n"
  end
  next_request = tonumber(arguments[2])
end

function request()
  next_request = next_request % #requests + 1
  return requests[next_request]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\nFIGURES {"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d, "p999": %d}\n',
    summary.requests, summary.duration, errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
