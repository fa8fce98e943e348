import HTTP
import Logging
import Synchronization
import ThawCore
import Wire

@testable import ObjectStore

/// Answers requests from a script and keeps what was asked.
final class ScriptedTransport: Transport {
    enum Step {
        case reply(Int, headers: [String: String] = [:], body: String = "")
        /// The headers come, and this much of the body; then the connection breaks.
        case cut(Int, headers: [String: String], body: String)
        case failure(HTTPError)
    }

    private let steps: Mutex<[Step]>
    private let asked = Mutex<[HTTPRequest]>([])

    init(_ steps: [Step]) { self.steps = Mutex(steps) }

    var requests: [HTTPRequest] { asked.withLock { $0 } }

    func perform(_ request: HTTPRequest, into sink: (any BodySink)?) async throws(HTTPError) -> HTTPResponse {
        asked.withLock { $0.append(request) }
        let step = steps.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        switch step {
        case .reply(let status, let headers, let body):
            return try deliver(status, headers, body, sink)
        case .cut(let status, let headers, let body):
            _ = try deliver(status, headers, body, sink)
            throw .broken("cut")
        case .failure(let error): throw error
        case nil: throw .connect("the script has ended")
        }
    }

    private func deliver(
        _ status: Int,
        _ headers: [String: String],
        _ body: String,
        _ sink: (any BodySink)?
    ) throws(HTTPError) -> HTTPResponse {
        let head = HTTPResponseHead(status: status, headers: headers.map { ($0.key, $0.value) })
        let bytes = Array(body.utf8)
        guard let sink, sink.accept(head) else { return HTTPResponse(head: head, body: bytes) }
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let isTaken = bytes[start..<min(start + 3, bytes.count)].withUnsafeBytes { sink.receive($0) }
            guard isTaken else { throw .rejected }
        }
        return HTTPResponse(head: head, body: [])
    }
}

extension HTTPRequest {
    func header(_ name: String) -> String? { headers.first { $0.name == name }?.value }

    /// The body, if it is not a file.
    var document: [UInt8] { if case .bytes(let bytes) = body { bytes } else { [] } }
    var text: String { String(decoding: document, as: UTF8.self) }

    /// The path and the query of the URL, as a server gets them.
    var target: (path: String, query: String) {
        let rest = url.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false)[2]
        let slash = rest.firstIndex(of: "/") ?? rest.endIndex
        let parts = rest[slash...].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
    }
}

/// Keeps what it gets; refuses from a certain byte on.
final class Bytes: ByteSink {
    private let got = Mutex<[UInt8]>([])
    private let bytesMax: Int

    init(max: Int = .max) { bytesMax = max }

    var text: String { String(decoding: got.withLock { $0 }, as: UTF8.self) }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        got.withLock { got in
            guard got.count + bytes.count <= bytesMax else { return false }
            got += Array(bytes)
            return true
        }
    }
}

/// Log lines, for tests that count them.
final class LogLines: Sendable {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }

    var logger: Logger { Logger(label: "test") { _ in Handler(lines: self) } }

    private struct Handler: LogHandler {
        let lines: LogLines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.debug
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) { lines.kept.withLock { $0.append("\(event.level): \(event.message)") } }
    }
}

let quiet = Logger(label: "quiet") { _ in SwiftLogNoOpLogHandler() }
let secret = Credentials(accessKeyID: "AK", secretAccessKey: "testsecret", sessionToken: "TOKEN")
/// Fri, 02 Jan 2026 03:04:05 GMT
let instant = Timestamp(seconds: 1_767_323_045)

func configuration(
    _ dialect: Dialect = .s3,
    bucket: String = "bkt",
    endpoint: String? = nil,
    region: String? = nil,
    signature: StoreConfiguration.Signature = .v4
) throws -> StoreConfiguration {
    try StoreConfiguration(
        dialect: dialect,
        bucket: bucket,
        endpoint: endpoint,
        region: region ?? (dialect == .oss ? "cn-hangzhou" : "us-west-2"),
        signature: signature
    )
}

func store(
    _ configuration: StoreConfiguration,
    _ transport: ScriptedTransport,
    logger: Logger = quiet,
    credentials: any CredentialsProvider = FixedCredentials(secret),
    now: Timestamp = instant
) -> BucketStore {
    BucketStore(configuration, credentials: credentials, transport: transport, logger: logger) { now }
}

/// The headers of a 206 for `range` of an object of `size` bytes.
func partial(_ range: Range<Int>, of size: Int, _ more: [String: String] = [:]) -> [String: String] {
    [
        "content-range": "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)",
        "content-length": "\(range.count)",
        "last-modified": "Thu, 24 Sep 2020 12:40:33 GMT", "etag": "\"e\"",
    ].merging(more) { $1 }
}

func errorBody(_ code: String, _ more: String = "") -> String {
    "<?xml version=\"1.0\"?>\n<Error><Code>\(code)</Code><Message>words</Message><RequestId>REQ</RequestId>\(more)</Error>"
}
