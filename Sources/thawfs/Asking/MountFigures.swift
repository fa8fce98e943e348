import Content
import Filesystem
import ObjectStore
import Restore
import ThawCore

/// How a mount gets on: what goes to the store and what is spared it, and what went wrong last.
struct MountFigures: Equatable, Sendable {
    struct Cache: Equatable, Sendable {
        var bytes: UInt64
        var bytesMax: UInt64
        /// Read from it since the mount was made.
        var readBytes: UInt64
    }

    struct Failure: Equatable, Sendable {
        var text: String
        var time: Timestamp
    }

    /// Nil where nothing is kept on disk.
    var cache: Cache?
    var traffic = Traffic()
    var failure: Failure?
}

extension MountFigures {
    init(_ filesystem: Filesystem, _ transport: MeteredTransport, _ blocks: BlockCache?) {
        cache = blocks.map { Cache(bytes: $0.usedBytes, bytesMax: $0.bytesMax, readBytes: $0.readBytes) }
        traffic = transport.traffic
        failure = filesystem.lastFailure.map { Failure(text: $0.text, time: $0.time) }
    }

    // MARK: As JSON

    var members: [String: JSON] {
        [
            "cache": cache.map {
                ["bytes": JSON($0.bytes), "bytes_max": JSON($0.bytesMax), "read_bytes": JSON($0.readBytes)]
            } ?? .null,
            "traffic": [
                "requests": JSON(traffic.requests), "failed": JSON(traffic.failed),
                "received_bytes": JSON(traffic.receivedBytes), "sent_bytes": JSON(traffic.sentBytes),
            ],
            "last_failure": failure.map { ["text": JSON($0.text), "time": JSON($0.time)] } ?? .null,
        ]
    }

    /// Nil of a daemon that does not tell.
    init?(_ status: JSON) {
        guard let traffic = status["traffic"], let requests = traffic["requests"]?.int else { return nil }
        self.traffic.requests = requests
        self.traffic.failed = traffic["failed"]?.int ?? 0
        self.traffic.receivedBytes = traffic[bytes: "received_bytes"] ?? 0
        self.traffic.sentBytes = traffic[bytes: "sent_bytes"] ?? 0
        if let cache = status["cache"], let bytes = cache[bytes: "bytes"] {
            self.cache = Cache(
                bytes: bytes, bytesMax: cache[bytes: "bytes_max"] ?? 0, readBytes: cache[bytes: "read_bytes"] ?? 0)
        }
        if let failure = status["last_failure"], let text = failure[text: "text"], let time = failure[time: "time"] {
            self.failure = Failure(text: text, time: time)
        }
    }

    // MARK: As text

    func lines(at now: Timestamp) -> [String] {
        var lines: [String] = []
        let failed = traffic.failed > 0 ? ", \(Units.count(traffic.failed)) failed" : ""
        lines.append(
            "traffic: \(Units.count(traffic.requests)) requests\(failed), \(Units.text(bytes: traffic.receivedBytes)) "
                + "received, \(Units.text(bytes: traffic.sentBytes)) sent")
        if let cache {
            lines.append(
                "cache: \(Units.text(bytes: cache.bytes)) of \(Units.text(bytes: cache.bytesMax)), "
                    + "\(Units.text(bytes: cache.readBytes)) read from it")
        }
        if let failure {
            lines.append("last failure, \(Units.text(now - failure.time)) ago: \(failure.text)")
        }
        return lines
    }
}
