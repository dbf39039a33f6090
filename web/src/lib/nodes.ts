/** The server's name for the machine that it runs on itself. */
export const LOCAL_NODE = 'local'
