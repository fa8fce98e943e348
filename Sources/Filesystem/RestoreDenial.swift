internal import Logging
internal import Synchronization
package import ThawCore

/// Processes whose reads never restore anything: a recall costs money, and an indexer or thumbnailer that walks an
/// archive would recall all of it for pictures that nobody looks at. The mount's `restore_deny`.
///
/// A name is what the kernel calls a thread or its process (`comm`), cut at 15 bytes. It says who a program means to
/// be, and guards against accidents, not against anybody who renames a program on purpose.
package struct RestoreDenial: Sendable, Equatable {
    /// As the kernel cuts them.
    private let names: Set<String>

    package init(_ names: some Sequence<String>) { self.names = Set(names.map(Self.cut)) }

    /// `updatedb:baloo_file`; empty for nobody. Nil when a name is empty, or a path: the kernel keeps none.
    package init?(parsing text: String) {
        let names = text.isEmpty ? [] : text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard names.allSatisfy({ !$0.isEmpty && !$0.hasPrefix("/") }) else { return nil }
        self.init(names)
    }

    /// The name on the list by which the caller goes; nil when it may restore. One that is unknown, from outside our
    /// pid namespace, may. Reads `/proc`, unless the list is empty.
    package func match(_ caller: Caller) -> String? {
        if names.isEmpty { return nil }
        return caller.names.first { names.contains($0) }
    }

    private static func cut(_ name: String) -> String {
        // As text of the same bytes, also where the cut goes through a character.
        String(decoding: name.utf8.prefix(Caller.nameBytesMax), as: UTF8.self)
    }

    /// What desktops and servers run unasked. KDE's thumbnails are denied as far as their process has a name of its
    /// own: later versions make them in a `kioworker`, as which the user's own copies run too.
    package static let standard = RestoreDenial([
        // Indexes of names. They look at no content, but a version or a plug-in might.
        "updatedb", "updatedb.plocate", "updatedb.mlocate", "updatedb.findutils",
        // Desktop search.
        "baloo_file", "baloo_file_extractor", "baloo_filemetadata_temp_extractor", "akonadi_indexing_agent",
        "tracker-miner-fs", "tracker-miner-fs-3", "tracker-extract", "tracker-extract-3", "localsearch-3",
        "localsearch-extractor-3", "recollindex", "zeitgeist-daemon", "zeitgeist-datahub", "zeitgeist-fts",
        // Thumbnails.
        "tumblerd", "thumbnail.so", "ffmpegthumbnailer", "gdk-pixbuf-thumbnailer", "glycin-thumbnailer",
        "evince-thumbnailer", "papers-thumbnailer", "atril-thumbnailer", "xreader-thumbnailer",
        "totem-video-thumbnailer", "totem-gallery-thumbnailer", "gnome-thumbnail-font", "mate-thumbnail-font",
        "gsf-office-thumbnailer", "gnome-epub-thumbnailer", "gnome-mobi-thumbnailer", "heif-thumbnailer",
    ])
}

extension Filesystem {
    /// Throws when the caller is one of those whose reads restore nothing. To be asked where a restore would be
    /// started or waited for, and nowhere else.
    func refuseDenied(_ operation: String, of key: ObjectKey, _ caller: Caller) throws(FileError) {
        guard let name = configuration.frozen.denied.match(caller) else { return }
        // An indexer meets a million files: one line a minute for each name says it.
        if isNews(name) {
            log.notice(
                "\(operation) of \(key) by \(caller) refused, and others of this process: it is frozen, and restore_deny has “\(name)”; restore it with setfattr -n user.thaw.restore, or name others in restore_deny"
            )
        }
        throw .restoreRefused
    }

    /// Whether a refusal for this reason was not told of in the last minute.
    func isNews(_ reason: String) -> Bool {
        let now = Timestamp.now()
        return denials.withLock { denials in
            if let last = denials[reason], last <= now, now < last + .seconds(60) { return false }
            denials[reason] = now
            return true
        }
    }
}
