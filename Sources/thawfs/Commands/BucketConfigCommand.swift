import ArgumentParser
import Glibc
import ObjectStore
import ThawCore
import Wire

struct BucketConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Get, put and remove a bucket's configurations.",
        discussion: "A NAME is one of:\n\n"
            + BucketConfiguration.Kind.allCases.map { "  " + $0.help }.joined(separator: "\n"),
        subcommands: [BucketConfigGetCommand.self, BucketConfigPutCommand.self, BucketConfigRemoveCommand.self])
}

struct BucketConfigGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Print a configuration as the provider has it.")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @Argument(help: "Such as lifecycle, cors or inventory.ID.")
    var name: String

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source), name = try BucketConfiguration(argument: name)
        let body = try await options.run(source) { buckets, _ throws(StoreError) in
            try await buckets.configuration(name, of: source.bucketName)
        }
        let text = String(decoding: body, as: UTF8.self)
        if options.json { return printDocument(["name": .string(name.name), "configuration": .string(text)]) }
        printText(text)
    }
}

struct BucketConfigPutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Put a configuration in the place of the one before.",
        usage: "thawfs bucket config put SOURCE NAME [FILE]")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @Argument(help: "Such as lifecycle, cors or inventory.")
    var name: String

    @Argument(help: "The document, in the API's own XML or JSON; - is the standard input.")
    var file = "-"

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source), name = try BucketConfiguration(argument: name)
        let body = try Self.read(file)
        let reply = try await options.run(source) { buckets, _ throws(StoreError) in
            try await buckets.setConfiguration(name, body, of: source.bucketName)
        }
        let text = String(decoding: reply, as: UTF8.self)
        if options.json { return printDocument(["name": .string(name.name), "reply": .string(text)]) }
        printText(text)
    }

    private static func read(_ file: String) throws -> [UInt8] {
        let descriptor = file == "-" ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw UsageError("\(file): \(errorText(errno))") }
        defer { close(descriptor) }
        var body: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw UsageError("\(file): \(errorText(errno))") }
            if count == 0 { return body }
            body += buffer[..<count]
        }
    }
}

struct BucketConfigRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "rm", abstract: "Remove a configuration.")

    @Argument(help: "The bucket: oss://BUCKET, s3://BUCKET or cos://BUCKET.")
    var source: String

    @Argument(help: "Such as lifecycle, cors or inventory.ID.")
    var name: String

    @OptionGroup var options: BucketOptions

    func run() async throws {
        let source = try Source(bucket: source), name = try BucketConfiguration(argument: name)
        try await options.run(source) { buckets, _ throws(StoreError) in
            try await buckets.deleteConfiguration(name, of: source.bucketName)
        }
        if options.json { printDocument(["removed": .string(name.name)]) }
    }
}

/// A provider's document, which may be put again as it is shown.
private func printText(_ text: String) {
    let lines = text.split { $0.isNewline }
    printLines(lines.map { line in String(line.map { $0 == "\t" ? " " : $0 }) })
}

extension BucketConfiguration {
    fileprivate init(argument: String) throws {
        guard let configuration = BucketConfiguration(name: argument) else {
            let known = Kind.allCases.map(\.rawValue).joined(separator: ", ")
            throw UsageError("“\(argument)” is no configuration; there are: \(known)")
        }
        self = configuration
    }
}

extension BucketConfiguration.Kind {
    /// `lifecycle: OSS, S3`
    fileprivate var help: String {
        let dialects = Dialect.allCases.filter { offer(in: $0) != nil }.map { "\($0.rawValue)://" }
        return "\(rawValue)\(hasIDs ? "[.ID]" : ""): \(dialects.joined(separator: ", "))"
    }
}
