import Glibc
import Synchronization
import ThawCore
import Wire

/// The store behind the server: its state, and what every operation of it shares.
final class StoreService: Sendable {
    let configuration: EmulatorConfiguration
    let catalog: Catalog
    let blobs: BlobStore
    let faults = Faults()
    let log = RequestLog()
    let backups = Backups()
    let authorization: Authorization
    private let clock: Mutex<VirtualClock>
    private let requests = Atomic<UInt64>(0)

    init(_ configuration: EmulatorConfiguration) throws(EmulatorError) {
        self.configuration = configuration
        authorization = Authorization(
            secrets: Dictionary(
                configuration.credentials.map { ($0.accessKeyID, $0.secretAccessKey) },
                uniquingKeysWith: { $1 }
            ),
            sessionToken: configuration.sessionToken,
            region: configuration.region,
            isLenient: configuration.isLenient,
            tokens: IdentityTokens(apiKeys: Set(configuration.credentials.map(\.secretAccessKey)))
        )
        let directory = configuration.dataDirectory
        if let directory, mkdir(directory, 0o755) != 0, errno != EEXIST {
            throw EmulatorError("cannot create \(directory): \(String(cString: strerror(errno)))")
        }
        let now = Timestamp.now()
        do {
            catalog = try Catalog(path: directory.map { $0 + "/objects.sqlite" })
            blobs = try BlobStore(directory: directory.map { $0 + "/bodies" })
            let (known, ahead) = try catalog.perform { tables throws(ProviderError) in
                try tables.dropUnusedBlobs()
                for name in configuration.buckets {
                    _ = try tables.createBucket(name, storageClass: "Standard", created: now)
                }
                return (try tables.blobs(), Int64(try tables.setting("clock") ?? "") ?? 0)
            }
            blobs.removeAll(but: known)
            clock = Mutex(
                VirtualClock(real: now, virtual: now + .nanoseconds(ahead), scale: configuration.timeScale)
            )
        } catch {
            throw EmulatorError("cannot open the data: \(error)")
        }
    }

    /// The time that archives go by.
    var now: Timestamp { clock.withLock { $0.time(real: .now()) } }

    /// Changes the clock, and keeps how far it is ahead for the next start.
    func setClock(_ change: (inout VirtualClock, _ real: Timestamp) -> Void) throws(ProviderError) {
        let real = Timestamp.now()
        let ahead = clock.withLock { clock in
            change(&clock, real)
            return clock.time(real: real) - real
        }
        try catalog.perform { tables throws(ProviderError) in
            try tables.setSetting("clock", String(ahead.nanosecondsClamped))
        }
    }

    var clockJSON: JSON {
        let clock = clock.withLock { $0 }
        let real = Timestamp.now()
        let time = clock.time(real: real)
        return [
            "now": .string(WireDate.iso8601(time)), "ahead_seconds": .number((time - real).secondsRounded),
            "scale": .number(clock.scale),
        ]
    }

    func nextRequestID() -> String {
        let number = requests.add(1, ordering: .relaxed).newValue
        let digits = String(number, radix: 16, uppercase: true)
        return "THAW" + String(repeating: "0", count: max(0, 20 - digits.count)) + digits
    }
}
