import ArgumentParser
import ObjectStore
import ThawCore
import Wire

struct BucketUploadsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "uploads", abstract: "List multipart uploads that nobody has ended.")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @Option(help: "Only of keys that begin so.")
    var prefix = ""

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source)
        let uploads = try await options.run(source) { buckets, _ throws(StoreError) in
            try await buckets.uploads(of: source.bucketName, prefix: ObjectKey(prefix))
        }
        if options.json { return printDocument(["uploads": .array(uploads.map(\.json))]) }
        printLines(uploads.lines)
    }
}

/// `thawfs bucket abort`: ends uploads, whose parts cost money as long as they are kept.
struct BucketAbortCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "abort", abstract: "Abort a multipart upload, or all that were begun some time ago.",
        usage: """
            thawfs bucket abort SOURCE --key KEY --id ID
            thawfs bucket abort SOURCE --older-than DUR [--prefix P] [--yes]
            """,
        discussion: "What others, or a mount that runs, upload in that time is lost as well: choose it long enough.")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @Option(help: "The key of the one upload.")
    var key: String?

    @Option(help: "Its id, as thawfs bucket uploads shows it.")
    var id: String?

    @Option(help: ArgumentHelp("All that were begun longer ago, such as 7d.", valueName: "dur"))
    var olderThan: String?

    @Option(help: "Only of keys that begin so.")
    var prefix = ""

    @Flag(help: "Abort them; without it they are only listed.")
    var yes = false

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source)
        if let olderThan {
            guard key == nil, id == nil else { throw UsageError("--older-than goes without --key and --id") }
            guard let age = Units.duration(olderThan) else {
                throw UsageError("--older-than \(olderThan): expected a duration such as 7d or 12h")
            }
            return try await abort(source, olderThan: age)
        }
        guard let key, let id else { throw UsageError("which one? --key and --id, or --older-than") }
        try await options.run(source) { buckets, _ throws(StoreError) in
            try await buckets.abort(ObjectKey(key), upload: id, of: source.bucketName)
        }
        if options.json { printDocument(["aborted": [["key": .string(key), "id": .string(id)]]]) }
    }

    private func abort(_ source: Source, olderThan age: Duration) async throws {
        let oldest = Timestamp.now()
        let uploads = try await options.run(source) { buckets, _ throws(StoreError) in
            let all = try await buckets.uploads(of: source.bucketName, prefix: ObjectKey(prefix))
            // One without a date may be of this minute.
            let old = all.filter { upload in upload.initiated.map { $0 + age <= oldest } ?? false }
            for upload in yes ? old : [] {
                try await buckets.abort(upload.key, upload: upload.id, of: source.bucketName)
            }
            return old
        }
        if options.json {
            printDocument([yes ? "aborted" : "found": .array(uploads.map(\.json))])
        } else {
            printLines(uploads.lines)
        }
        guard !yes, !uploads.isEmpty else { return }
        printError("nothing was aborted; with --yes \(uploads.count == 1 ? "this one is" : "these \(uploads.count) are")")
        throw ExitCode.failure
    }
}

extension IncompleteUpload {
    fileprivate var json: JSON {
        [
            "key": .string(key.description), "id": .string(id), "storage_class": JSON(storageClass),
            "initiated": JSON(initiated.map { WireDate.iso8601($0) }),
        ]
    }
}

extension [IncompleteUpload] {
    fileprivate var lines: [String] {
        var table = TextTable()
        table.rows = map { [$0.initiated.map { WireDate.iso8601($0) } ?? "", $0.id, $0.key.description] }
        return table.lines
    }
}
