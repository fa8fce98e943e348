import ArgumentParser
import Glibc
import HTTP
import Logging
import ObjectStore
import ThawCore
import Wire

/// `thawfs bucket`: what the account's API offers and no file operation does.
struct BucketCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bucket", abstract: "List, create, configure and delete buckets.",
        discussion: """
            A SOURCE is oss://BUCKET, s3://BUCKET or cos://BUCKET. The options about its endpoint, region and credentials \
            are those of thawfs mount, as --name value or -o name=value.
            """,
        subcommands: [
            BucketListCommand.self, BucketCreateCommand.self, BucketInfoCommand.self, BucketDeleteCommand.self,
            BucketConfigCommand.self, BucketUploadsCommand.self, BucketAbortCommand.self,
        ])
}

/// What every command about buckets is told.
struct BucketOptions: ParsableArguments {
    @Flag(help: "Print one JSON document.")
    var json = false

    @Option(name: .customShort("o"), help: "Options of a mount, separated by commas; may be repeated.")
    var options: [String] = []

    /// Runs `body` with the account's buckets, in the terms of whoever asked.
    func run<Value>(
        _ source: Source, _ body: (Buckets, MountOptions) async throws(StoreError) -> Value
    ) async throws -> Value {
        let environment = currentEnvironment()
        let options = try MountOptions(optionLists: options, environment: environment)
        let log = Logger(label: "thawfs") { LogLine(label: $0, level: .warning, descriptor: STDERR_FILENO) }
        let http = try options.httpClient()
        defer { http.shutdown() }
        let account = try Source("\(source.dialect.rawValue)://")
        let configuration = try options.storeConfiguration(account, environment: environment)
        if let warning = configuration.warning { log.warning("\(warning)") }
        let buckets = Buckets(
            configuration,
            credentials: CredentialsChain.standard(
                source.dialect, profile: options.text(.profile), environment: environment, transport: http),
            transport: http, logger: log)
        do throws(StoreError) {
            return try await body(buckets, options)
        } catch {
            throw UsageError("\(source.text): \(error)")
        }
    }
}

extension Source {
    /// A source that must be a whole bucket.
    init(bucket text: String) throws {
        try self.init(text)
        guard bucket != nil, prefix.isEmpty else {
            throw UsageError("source “\(text)”: expected a bucket, such as \(dialect.rawValue)://BUCKET")
        }
    }

    var bucketName: String { bucket ?? "" }
}

struct BucketListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the buckets of an account.", usage: "thawfs bucket list oss://|s3://|cos:// [--json]")

    @Argument(help: "The account: oss://, s3:// or cos://.")
    var source: String

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(source)
        guard source.bucket == nil else {
            throw UsageError("source “\(source.text)”: expected an account, such as s3://")
        }
        let buckets = try await options.run(source) { buckets, _ throws(StoreError) in try await buckets.all() }
        if options.json { return printDocument(["buckets": .array(buckets.map(\.json))]) }
        var table = TextTable()
        table.rows = buckets.map { bucket in
            let created = bucket.created.map { WireDate.iso8601($0) }
            return [bucket.name, bucket.region ?? "", bucket.storageClass ?? "", created ?? ""]
        }
        printLines(table.lines)
    }
}

struct BucketCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create a bucket in the region of the options.",
        usage: "thawfs bucket create SOURCE [--storage-class C] [--kp-crn CRN] [--object-lock]")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @Option(help: ArgumentHelp("Encrypt with this root key of IBM's Key Protect (cos://).", valueName: "crn"))
    var kpCrn: String?

    @Flag(help: "Let objects be locked, which cannot be switched on later; switches on versioning.")
    var objectLock = false

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source)
        try await options.run(source) { buckets, options throws(StoreError) in
            try await buckets.create(
                source.bucketName,
                BucketDraft(storageClass: options.text(.storageClass), rootKey: kpCrn, locksObjects: objectLock))
        }
        if options.json { printDocument(["created": .string(source.bucketName)]) }
    }
}

struct BucketDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete a bucket that is empty.")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source)
        try await options.run(source) { buckets, _ throws(StoreError) in try await buckets.delete(source.bucketName) }
        if options.json { printDocument(["deleted": .string(source.bucketName)]) }
    }
}

struct BucketInfoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info", abstract: "Show where a bucket is, and which configurations it has.")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source)
        let (description, states) = try await options.run(source) { buckets, _ throws(StoreError) in
            let description = try await buckets.describe(source.bucketName)
            var states: [(kind: BucketConfiguration.Kind, state: String)] = []
            for kind in BucketConfiguration.Kind.allCases where kind != .location && kind != .uploads {
                states.append((kind, try await Self.state(of: kind, buckets, source.bucketName)))
            }
            return (description, states)
        }
        let facts = [
            ("location", description.location), ("storage_class", description.storageClass),
            ("created", description.created.map { WireDate.iso8601($0) }), ("versioning", description.versioning),
            ("root_key", description.rootKey),
        ]
        if options.json {
            var members = Dictionary(uniqueKeysWithValues: facts.map { ($0.0, JSON($0.1)) })
            members["name"] = .string(source.bucketName)
            members["configurations"] = .object(
                Dictionary(uniqueKeysWithValues: states.map { ($0.kind.rawValue, .string($0.state)) }))
            return printDocument(.object(members))
        }
        printLines([source.text])
        var table = TextTable()
        table.rows = facts.compactMap { name, value in value.map { [name, $0] } }
        table.rows += states.map { [$0.kind.rawValue, $0.state] }
        printLines(table.lines, indentedBy: 2)
    }

    /// `set`, `none`, `not offered`, or what the provider says instead.
    private static func state(
        of kind: BucketConfiguration.Kind, _ buckets: Buckets, _ bucket: String
    ) async throws(StoreError) -> String {
        do throws(StoreError) {
            let body = try await buckets.configuration(BucketConfiguration(kind), of: bucket)
            return BucketConfiguration.saysNothing(body, kind) ? "none" : "set"
        } catch {
            switch error.kind {
            case .noSuchConfiguration: return "none"
            case .unsupported: return "not offered"
            // What one may not see is no reason to show nothing.
            case .denied: return error.code
            default: throw error
            }
        }
    }
}

extension ListedBucket {
    fileprivate var json: JSON {
        [
            "name": .string(name), "region": JSON(region), "storage_class": JSON(storageClass),
            "created": JSON(created.map { WireDate.iso8601($0) }),
        ]
    }
}
