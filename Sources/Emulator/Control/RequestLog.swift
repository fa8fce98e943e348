import Synchronization
import ThawCore

/// Counts requests and remembers the latest of them, for tests that ask what was sent.
final class RequestLog: Sendable {
    struct Line: Sendable {
        var operation: String
        var method: String
        var bucket: String?
        var key: String
        var range: String?
        var status: Int
        var dialect: String
        var bytesIn: UInt64
        var bytesOut: UInt64
    }

    private struct State {
        var counts: [String: Int] = [:]
        var bytesIn: UInt64 = 0
        var bytesOut: UInt64 = 0
        var lines: [Line] = []
        /// Where the next line goes once `lines` is full.
        var oldest = 0
    }

    private static let linesMax = 10_000
    private let state = Mutex(State())

    func add(_ line: Line) {
        state.withLock { state in
            state.counts[line.operation, default: 0] += 1
            state.bytesIn += line.bytesIn
            state.bytesOut += line.bytesOut
            if state.lines.count < Self.linesMax {
                state.lines.append(line)
            } else {
                state.lines[state.oldest] = line
                state.oldest = (state.oldest + 1) % Self.linesMax
            }
        }
    }

    func clear() { state.withLock { $0 = State() } }

    var json: JSON {
        let state = state.withLock { $0 }
        let lines = state.lines[state.oldest...] + state.lines[..<state.oldest]
        return [
            "counts": .object(state.counts.mapValues { JSON($0) }),
            "bytes_in": JSON(state.bytesIn), "bytes_out": JSON(state.bytesOut),
            "requests": .array(lines.map(\.json)),
        ]
    }
}

extension RequestLog.Line {
    fileprivate var json: JSON {
        [
            "op": .string(operation), "method": .string(method), "bucket": JSON(bucket), "key": .string(key),
            "range": JSON(range), "status": JSON(status), "dialect": .string(dialect),
            "bytes_in": JSON(bytesIn), "bytes_out": JSON(bytesOut),
        ]
    }
}
