/** Hand a file over to the browser, which saves it as it saves every download. */
export function saveFile(name: string, content: Blob): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(content)
  link.download = name
  link.click()
  // The browser has taken the content over when the click returns; this frees our share of it.
  setTimeout(() => {
    URL.revokeObjectURL(link.href)
  }, 60_000)
}
