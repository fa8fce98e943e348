import ArgumentParser
import Content
import Glibc
import Logging
import Metadata
import ThawCore

/// A source that nobody has mounted, as `thawfs cache verify` and `clear` name it.
struct UnmountedSource: ParsableArguments {
    @Argument(help: "oss://BUCKET[/PREFIX], s3://BUCKET[/PREFIX], cos://BUCKET[/PREFIX] or oas://VAULT, not mounted.")
    var source: String

    @Option(name: .customShort("o"), help: "Options of the mount, separated by commas; may be repeated.")
    var options: [String] = []

    /// Takes the source's state; it must have been mounted before.
    func open(for command: String) throws -> StateDirectory {
        let path = try StateLocation(ofMounted: source, optionLists: options).path
        do throws(MetadataError) { return try StateDirectory(path: path, holder: "thawfs cache \(command)") } catch {
            guard case .inUse = error else { throw error }
            throw UsageError("\(error); unmount it first")
        }
    }
}

/// `thawfs cache verify`
struct CacheVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Read all that is kept of what was read, and throw away what is damaged.",
        usage: "thawfs cache verify SOURCE [--json] [-o option=value,...]",
        discussion: """
            A mount looks at the checksum of whatever it reads from there, so this is never necessary: it tells \
            whether a disk can be trusted.
            """)

    @OptionGroup var subject: UnmountedSource

    @Flag(help: "Print one JSON document.")
    var json = false

    func run() async throws {
        let state = try subject.open(for: "verify")
        let cache = try await BlockLocation(ofState: state.path)?.openUnmounted(Self.log)
        let result = try await cache?.verify()
        await cache?.end()
        let (segments, bytes, damaged) = (result?.segments ?? 0, result?.bytes ?? 0, result?.damaged ?? 0)
        if json {
            printDocument(["segments": JSON(segments), "bytes": JSON(Int(clamping: bytes)), "damaged": JSON(damaged)])
        } else {
            printLines([
                "\(Units.text(bytes: bytes)) of what was read are kept and sound; damaged, and thrown away: \(damaged) of \(segments) segments"
            ])
        }
        withExtendedLifetime(state) {}
        if damaged > 0 { throw ExitCode.failure }
    }

    fileprivate static var log: Logger {
        Logger(label: "thawfs") { LogLine(label: $0, level: .warning, descriptor: STDERR_FILENO) }
    }
}

/// `thawfs cache clear`
struct CacheClearCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clear", abstract: "Throw away all that is kept of what was read.",
        usage: "thawfs cache clear SOURCE [-o option=value,...]",
        discussion: """
            What was written and is not stored yet stays, and so does what is known of names. Bytes of restored copies \
            that have lapsed since cost another restore.
            """)

    @OptionGroup var subject: UnmountedSource

    func run() async throws {
        let state = try subject.open(for: "clear")
        let cache = try await BlockLocation(ofState: state.path)?.openUnmounted(CacheVerifyCommand.log)
        let bytes = try await cache?.clear() ?? 0
        await cache?.end()
        printLines(["\(Units.text(bytes: bytes)) thrown away"])
        withExtendedLifetime(state) {}
    }
}
