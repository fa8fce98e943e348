import Emulator
import HTTP
import Logging
import ObjectStore
import Synchronization
import ThawCore
import ThawTesting
import Wire

@testable import Vaults

/// A vault of a running emulator, and a catalogue of it.
final class VaultFixture: Sendable {
    let server: EmulatorServer
    let http: HTTPClient
    /// On the client's way to the emulator.
    let wire: TappedWire
    let client: VaultClient
    let directory: TemporaryDirectory
    let changes = Mutex(0)
    private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    private let credentials = Credentials(accessKeyID: "thawfs", secretAccessKey: "thawfs-secret")

    init(vault: String? = "vault") async throws {
        var configuration = EmulatorConfiguration()
        configuration.port = 0
        configuration.buckets = ["bkt"]
        server = try await EmulatorServer.start(configuration)
        http = try HTTPClient()
        wire = TappedWire(http)
        client = VaultClient(
            try Endpoint(server.url), credentials: FixedCredentials(credentials), transport: wire)
        directory = try TemporaryDirectory()
        if let vault { _ = try await client.createVault(vault) }
    }

    func stop() async throws {
        http.shutdown()
        try await server.stop()
    }

    func catalogue(_ name: String = "catalogue.sqlite") throws -> Catalogue {
        try Catalogue(
            path: directory.path + "/" + name, executor: try ThreadExecutor(name: "catalogue"), log: Self.log)
    }

    /// The vault as a mount has it. Another catalogue is another machine's.
    func store(
        _ catalogue: String = "catalogue.sqlite", sleep: @escaping RetryingStore.Sleep = RetryingStore.taskSleep
    ) throws -> VaultStore {
        VaultStore(
            "vault", client: client, catalogue: try self.catalogue(catalogue), log: Self.log, partBytes: 64 << 20,
            sleep: sleep, changed: { [self] in changes.withLock { $0 += 1 } })
    }

    func account() throws -> VaultAccountStore {
        VaultAccountStore(client: client, catalogue: try catalogue(), log: Self.log)
    }

    /// What the emulator's control endpoint answers.
    @discardableResult
    func control(_ method: HTTPRequest.Method, _ name: String, _ body: JSON = [:]) async throws -> JSON {
        let response = try await http.perform(
            HTTPRequest(
                method: method, url: "\(server.url)/_emulator/\(name)",
                body: method == .get ? .bytes([]) : .bytes(Array(body.text.utf8))))
        return JSON(response.body) ?? .null
    }

    func advance(_ span: String) async throws { try await control(.post, "clock", ["advance": .string(span)]) }

    func count(_ operation: String) async throws -> Int {
        try await control(.get, "requests")["counts"]?[operation]?.int ?? 0
    }

    /// What somebody else has in the vault: descriptions by archive.
    func archives(of vault: String = "vault") async throws -> [String] {
        let id = try await client.vault(named: vault).id
        let job = try await client.startJob(.inventory, in: id)
        try await advance("4h")
        let sink = Sink()
        _ = try await client.output(of: job, in: id, range: 0..<1 << 20, totalBytes: nil, into: sink)
        return JSON(sink.bytes)?["ArchiveList"]?.array?.compactMap { $0["ArchiveDescription"]?.string }.sorted() ?? []
    }
}

/// Passes requests on, unless a test has something else done with those of a method whose path ends so.
final class TappedWire: Transport {
    typealias Tap = @Sendable (HTTPRequest, (any BodySink)?, HTTPClient) async throws(HTTPError) -> HTTPResponse

    private let http: HTTPClient
    private let taps = Mutex<[(method: HTTPRequest.Method, suffix: String, tap: Tap)]>([])

    init(_ http: HTTPClient) { self.http = http }

    func tap(_ method: HTTPRequest.Method, _ suffix: String = "", _ tap: @escaping Tap) {
        taps.withLock { $0.append((method, suffix, tap)) }
    }

    /// Holds those of a method back until the gate is opened.
    func hold(_ method: HTTPRequest.Method) -> Gate {
        let gate = Gate()
        tap(method) { request, sink, http throws(HTTPError) in
            await gate.pass()
            guard !Task.isCancelled else { throw .cancelled }
            return try await http.perform(request, into: sink)
        }
        return gate
    }

    func perform(_ request: HTTPRequest, into sink: (any BodySink)?) async throws(HTTPError) -> HTTPResponse {
        let found = taps.withLock { taps in
            taps.first { $0.method == request.method && request.url.hasSuffix($0.suffix) }?.tap
        }
        guard let found else { return try await http.perform(request, into: sink) }
        return try await found(request, sink, http)
    }
}

/// Keeps what it is given.
final class Sink: ByteSink {
    private let taken = Mutex<[UInt8]>([])

    var bytes: [UInt8] { taken.withLock { $0 } }

    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool {
        taken.withLock { $0 += bytes }
        return true
    }
}

extension VaultStore {
    func read(_ path: String, _ range: Range<UInt64>, ifMatch: String? = nil) async throws -> [UInt8] {
        let sink = Sink()
        _ = try await get(ObjectKey(path), version: nil, range: range, ifMatch: ifMatch, into: sink)
        return sink.bytes
    }

    @discardableResult
    func write(_ path: String, _ text: String, _ condition: WriteCondition = .always) async throws -> ObjectRecord {
        try await put(ObjectKey(path), .bytes(Array(text.utf8)), ObjectDraft(condition: condition))
    }

    func restore(_ path: String) async throws -> RestoreReply {
        try await restore(ObjectKey(path), version: nil, RestoreOrder(days: nil, tier: nil))
    }

    func head(_ path: String) async throws -> ObjectRecord { try await head(ObjectKey(path), version: nil) }

    func names(_ prefix: String = "", delimiter: UInt8? = nil, keysMax: Int = 1000) async throws -> [String] {
        var listing = Listing(self, ListRequest(prefix: ObjectKey(prefix), delimiter: delimiter, keysMax: keysMax))
        var names: [String] = []
        while let page = try await listing.next() {
            names += (page.objects.map(\.key) + page.prefixes).map(\.description)
        }
        return names.sorted()
    }
}

/// The kind of error that `body` ends with; nil when it ends well.
func failure(_ body: () async throws -> Void) async -> StoreError.Kind? {
    do {
        try await body()
        return nil
    } catch {
        return (error as? StoreError)?.kind
    }
}
